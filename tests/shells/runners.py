"""Run one activation and deactivation in each shell, and tell what the environment was at each step.

Steps: 0 before, 1 activated, 2 activated again, 3 deactivated. A script in the shell's own language writes the
environment down at each; paths come to it as variables, so that its quoting is not what is tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from maintain.lib.files import sha256_file
from maintain.lib.paths import cache_dir

NAME = "00_prefect-env"
NUSHELL = Path(__file__).with_name("nushell")
CACHE = cache_dir()
IGNORED = {"_", "SHLVL", "PWD", "OLDPWD", "PATH", "T_HERE", "T_ETC", "CURRENT_FILE", "FILE_PWD"}
"""Variables that shells and activation code themselves change."""


@dataclass(frozen=True)
class Shell:
    """How a shell is started, which of our scripts it runs, and its words for what a test does."""

    name: str
    command: tuple[str, ...]
    extension: str
    form: str
    source: str
    """Source the file {path}, which stands in a variable reference already."""
    put: str = 'export {name}="{value}"'
    copy: str = 'export {name}="${value}"'
    """Give {name} what the variable {value} holds."""
    drop: str = "unset {name}"
    variable: str = '"$T_ETC/{path}"'
    dump: str = 'env -0 > "$T_HERE/{step}"'
    one_case: bool = False


SH = ". {path}"
SHELLS = {
    shell.name: shell
    for shell in (
        Shell("dash", ("dash", "-eu"), "sh", "sh", SH),
        Shell("bash", ("bash", "--norc", "-euo", "pipefail"), "sh", "sh", SH),
        Shell("zsh", ("zsh", "-f", "-eu"), "sh", "sh", SH),
        Shell(
            "fish",
            ("fish", "--no-config"),
            "fish",
            "data",
            "source {path}",
            'set -gx {name} "{value}"',
            'set -gx {name} "${value}"',
            "set -e {name}",
        ),
        Shell(
            "tcsh",
            ("tcsh", "-f"),
            "csh",
            "csh",
            "source {path}",
            'setenv {name} "{value}"',
            "setenv {name} ${value}:q",
            "unsetenv {name}",
        ),
        Shell(  # without $[...] xonsh parses the whole script once more for each line that is no Python
            "xonsh",
            ("xonsh", "--no-rc"),
            "xsh",
            "data",
            "$[source @({path})]",
            '${name} = "{value}"',
            "${name} = ${value}",
            "del ${name}",
            '$T_ETC + "/{path}"',
            "$[env -0 > @($T_HERE + '/{step}')]",
        ),
        Shell(
            "nushell",
            ("nu", "--no-config-file"),
            "nu",
            "nu",
            "source-env {path}",
            '$env.{name} = "{value}"',
            "$env.{name} = $env.{value}",
            "hide-env {name}",
            "{quoted}",
            '^env -0 | save --raw ($env.T_HERE | path join "{step}")',
            one_case=True,
        ),
    )
}


@lru_cache
def program(shell: Shell) -> str | None:
    """The shell's program, or None; nushell comes from npm, checked against the lock file, where it is not on PATH."""
    found = shutil.which(shell.command[0])
    return found or (_nushell() if shell.name == "nushell" else None)


def _nushell() -> str | None:
    """The program of npm's package, installed once per content of the lock file."""
    npm = shutil.which("npm")
    lock = NUSHELL / "package-lock.json"
    home = CACHE / f"nushell-{sha256_file(lock)[:16]}"
    found = home / "node_modules" / "@nushell" / "linux-x64" / "bin" / "nu"
    if npm and not found.exists():
        shutil.copytree(NUSHELL, home, dirs_exist_ok=True)
        subprocess.run([npm, "ci", "--silent"], cwd=home, check=False, timeout=240, capture_output=True)
    return str(found) if found.exists() else None


@dataclass
class Run:
    """The environments at the steps, without what :data:`IGNORED` names, and what was said on stderr."""

    steps: list[dict[str, str]]
    stderr: str


def parse(raw: bytes) -> dict[str, str]:
    """The environment that ``env -0`` wrote."""
    lines = (line.partition("=") for line in os.fsdecode(raw).split("\0") if line)
    return {name: value for name, _, value in lines if name not in IGNORED}


def lines(shell: Shell, etc: Path, meanwhile: Mapping[str, str], activate: str) -> list[str]:
    """The test's script for ``shell``; ``activate`` is the code that activates."""

    def path(folder: str) -> str:
        return script(shell, etc, folder)

    changes = [
        (shell.drop if value == "-" else shell.put).format(name=name, value=value) for name, value in meanwhile.items()
    ]
    dump = [shell.dump.format(step=step) for step in range(4)]
    again = shell.source.format(path=path("activate.d"))
    return [
        dump[0],
        activate,
        dump[1],
        again,
        dump[2],
        *changes,
        shell.source.format(path=path("deactivate.d")),
        dump[3],
    ]


def script(shell: Shell, etc: Path, folder: str) -> str:
    """One of our scripts, as the shell's source command takes it."""
    relative = f"{folder}/{NAME}.{shell.extension}"
    quoted = '"' + str(etc / relative).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return shell.variable.format(path=relative, quoted=quoted)


XONSH_BATCH = """\
import json, sys
_names = set()
def _next(number, text):
    print(f"@@{number}", file=sys.stderr, flush=True)
    new = json.loads(text)
    for name in _names - new.keys():
        __xonsh__.env.pop(name, None)
    __xonsh__.env.update(new)
    _names.update(new)
"""
"""xonsh takes most of a second to start, so one process runs all cases, each after its own environment is set."""


@dataclass(frozen=True)
class Job:
    """One run for :func:`batch`: its prefix, variables and changes, and code that replaces plain sourcing."""

    prefix: Path
    env: Mapping[str, str]
    meanwhile: Mapping[str, str]
    activate: str | None = None


def batch(jobs: Sequence[Job], here: Path) -> list[Run]:
    """Run all jobs in one xonsh."""
    shell = SHELLS["xonsh"]
    code = [XONSH_BATCH]
    for number, job in enumerate(jobs):
        place = here / str(number)
        place.mkdir(parents=True)
        etc = job.prefix / "etc" / "conda"
        env = {**job.env, "T_HERE": str(place), "T_ETC": str(etc), "CONDA_PREFIX": str(job.prefix)}
        code.append(f"_next({number}, {json.dumps(env)!r})")
        code += lines(
            shell, etc, job.meanwhile, job.activate or shell.source.format(path=script(shell, etc, "activate.d"))
        )
    text = here / "batch.xsh"
    text.write_text("\n".join([*code, ""]))
    base = {name: value for name, value in jobs[0].env.items() if name in ("PATH", "LANG", "TERM", "HOME")}
    done = subprocess.run([*shell.command, str(text)], env=base, capture_output=True, timeout=280, check=False)
    said = re.split(r"@@\d+\n", done.stderr.decode(errors="replace"))[1:]
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [
        Run([parse((here / str(number) / str(step)).read_bytes()) for step in range(4)], said[number])
        for number in range(len(jobs))
    ]


def run(
    shell: Shell,
    prefix: Path,
    env: Mapping[str, str],
    here: Path,
    *,
    meanwhile: Mapping[str, str],
    activate: str | None = None,
) -> Run:
    """Activate ``prefix`` twice and deactivate it once in a new ``shell``; ``activate`` replaces plain sourcing."""
    here.mkdir(parents=True)
    etc = prefix / "etc" / "conda"
    code = activate or shell.source.format(path=script(shell, etc, "activate.d"))
    text = here / f"script.{shell.extension}"
    text.write_text("\n".join([*lines(shell, etc, meanwhile, code), ""]))
    own = {**env, "T_HERE": str(here), "T_ETC": str(etc)}
    own["CONDA_PREFIX"] = str(prefix)
    found = program(shell)
    assert found is not None
    done = subprocess.run(
        [found, *shell.command[1:], str(text)], env=own, capture_output=True, timeout=120, check=False
    )
    stderr = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{shell.name} ended with {done.returncode}: {stderr}"
    return Run([parse((here / str(step)).read_bytes()) for step in range(4)], stderr)
