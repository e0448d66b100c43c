"""Activating an environment with our scripts beside activating one without, in each shell of this machine.

A new shell each time, as ``pixi run`` and ``conda run`` start one; the settings name a proxy, a CA and an API, and the
state is fresh. Peer: the same shell setting the same PATH and CONDA_PREFIX with an empty activate.d.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from maintain.lib.measure import Row, alternate
from maintain.lib.paths import RUNTIME

ROUNDS = 60
SLOW = {"xonsh": 10}
"""Rounds of a shell that takes a quarter of a second to start."""

SET = 'export PATH="$CONDA_PREFIX/bin:$PATH" CONDA_SHLVL=1'
SHELLS = {
    "bash": (["bash", "--norc", "-c"], "sh", "sh", SET, ". ", 1.5),
    "dash": (["dash", "-c"], "sh", "sh", SET, ". ", 2.0),
    "zsh": (["zsh", "-f", "-c"], "sh", "sh", SET, ". ", 2.0),
    "fish": (
        ["fish", "--no-config", "-c"],
        "fish",
        "data",
        'set -gx PATH "$CONDA_PREFIX/bin" $PATH',
        "source ",
        2.0,
    ),
    "tcsh": (["tcsh", "-f", "-c"], "csh", "csh", 'setenv PATH "$CONDA_PREFIX/bin:$PATH"', "source ", 2.0),
    "xonsh": (["xonsh", "--no-rc", "-c"], "xsh", "data", "$PATH.insert(0, $CONDA_PREFIX + '/bin')", "source ", 2.0),
    "nushell": (
        ["nu", "--no-config-file", "-c"],
        "nu",
        "nu",
        "$env.PATH = ($env.PATH | prepend ($env.CONDA_PREFIX + '/bin'))",
        "source-env ",
        2.0,
    ),
}
"""Name: command, our script's extension, the state's format, what activation does anyway, the source command, aim."""

SETTINGS = """\
HTTPS_PROXY=http://me:p%40ss@proxy.example.com:3128
HTTP_PROXY=http://me:p%40ss@proxy.example.com:3128
NO_PROXY=.example.com
CA_FILE=example.pem
PREFECT_API_URL=https://prefect.example.com/api
TELEMETRY=off
"""


def rows() -> list[Row]:
    """One row a shell: milliseconds of a new shell that activates."""
    with tempfile.TemporaryDirectory() as name:
        prefix = _prefix(Path(name, "prefix"))
        env = {"HOME": name, "PATH": os.environ["PATH"], "CONDA_PREFIX": str(prefix), "LANG": "C.UTF-8"}
        return [_row(shell, env) for shell, (command, *_) in SHELLS.items() if shutil.which(command[0])]


def _prefix(prefix: Path) -> Path:
    """A prefix with our scripts, a CA and a site's settings."""
    site = prefix / "etc" / "prefect-env" / "site.d"
    for folder in (prefix / "bin", prefix / "conda-meta", prefix / "ssl", prefix / "etc" / "conda", site):
        folder.mkdir(parents=True, exist_ok=True)
    for script in ("activate.d", "deactivate.d"):
        shutil.copytree(RUNTIME / script, prefix / "etc" / "conda" / script)
    certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"  # merged as it is, never parsed
    (site / "example.pem").write_text(certificate)
    (prefix / "ssl" / "cacert.pem").write_text(certificate.replace("MAA=", "MAE="))
    (site / "50-site.conf").write_text(SETTINGS)
    return prefix


def _row(name: str, env: dict[str, str]) -> Row:
    command, extension, form, before, source, aim = SHELLS[name]
    state = [sys.executable, "-m", "prefect_env.state", form]
    subprocess.run(state, env={**env, "PYTHONPATH": str(RUNTIME)}, check=True, stdout=subprocess.DEVNULL)
    script = f'{source}"{env["CONDA_PREFIX"]}/etc/conda/activate.d/00_prefect-env.{extension}"'

    def timed(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([*command, code], env=env, check=True, stdout=subprocess.DEVNULL)

    ours, theirs = alternate(timed(f"{before}; {script}"), timed(before), rounds=SLOW.get(name, ROUNDS))
    return Row(f"activate in {name}", ours * 1000, "an empty environment", theirs * 1000, "ms", aim)
