"""The table of cases through activation as pixi does it: rattler's scripts, and the child shell of ``pixi run``."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rattler.platform import Subdir
from rattler.shell import ActivationVariables, activate
from rattler.shell import Shell as Kind

from maintain.lib.paths import MANIFEST, ROOT
from shells import cases, runners
from shells.checks import check
from shells.runners import SHELLS, Run

ROWS = cases.rows()
IDS = [row["name"] for row in ROWS]
KINDS = {"bash": Kind.bash, "zsh": Kind.zsh, "fish": Kind.fish, "xonsh": Kind.xonsh}
SLOW = (
    "https proxy from the site",
    "what the user changed meanwhile stays",
    "the site's CA goes into one bundle for all clients",
)
"""What is run in xonsh, which starts a bash for each activation."""

PAIRS = [(kind, name) for kind in KINDS for name in (SLOW if kind == "xonsh" else IDS)]


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, cases.Case]:
    """All cases, in prefixes with names that rattler quotes right (it lets ``$`` and backticks through)."""
    place = tmp_path_factory.mktemp("generated")
    return {
        row["name"]: cases.lay_out(row, place / str(number), name="pre fix/it's é") for number, row in enumerate(ROWS)
    }


def code(kind: str, prefix: Path) -> str:
    """The script that rattler makes for activating ``prefix``."""
    return activate(prefix, ActivationVariables(None, []), KINDS[kind], Subdir.current()).script


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_rattler(kind: str, name: str, laid_out: dict[str, cases.Case], tmp_path: Path) -> None:
    """rattler's script activates as sourcing does; its deactivation order makes no difference."""
    shell, case = SHELLS[kind], laid_out[name]
    if runners.program(shell) is None:
        pytest.skip(f"{kind} is not installed")
    if kind == "xonsh":  # its source-bash, which rattler uses for the .sh scripts, takes no path with a space
        case = cases.lay_out(case.row, tmp_path / "case", name="plain")
    run = runners.run(
        shell,
        case.prefix,
        {**case.environment, "CONDA_SHLVL": "1"},
        tmp_path / "run",
        meanwhile=case.row.get("meanwhile", {}),
        activate=code(kind, case.prefix),
    )
    check(shell, case, run)


@pytest.mark.parametrize("name", IDS)
def test_pixi_run(name: str, laid_out: dict[str, cases.Case], tmp_path: Path) -> None:
    """As ``pixi run`` does: a child bash activates, its changes are given to a process, nothing is deactivated.

    In that process another shell activates again (a nested one would), and its deactivation brings the start back.
    """
    case, dash = laid_out[name], SHELLS["dash"]
    env = {**case.environment, "CONDA_SHLVL": "1", "CONDA_PREFIX": str(case.prefix)}
    script = code("bash", case.prefix) + "\nenv -0"
    child = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=True, timeout=60)
    active = runners.parse(child.stdout)
    nested = runners.run(dash, case.prefix, active, tmp_path / "run", meanwhile=case.row.get("meanwhile", {}))
    assert nested.steps[1] == nested.steps[0], "a nested activation changed something"
    first = runners.parse(b"\0".join(os.fsencode(f"{name}={value}") for name, value in env.items()))
    check(dash, case, Run([first, *nested.steps[1:]], child.stderr.decode()))


def test_workspace(tmp_path: Path) -> None:
    """In a pixi workspace made from the clone the scripts run where they are, and find the package beside them."""
    scripts = tomllib.loads(MANIFEST.read_text())["target"]["unix"]["activation"]["scripts"]
    row = {"project": "TELEMETRY=off"}
    case = cases.lay_out(row, tmp_path / "case", prepare=False)
    for folder in ("activate.d", "deactivate.d"):
        (case.prefix / "etc" / "conda" / folder).unlink()
    (case.prefix / "bin" / "python").unlink()
    (case.prefix / "bin" / "python").symlink_to(sys.executable)
    env = {**case.environment, "CONDA_PREFIX": str(case.prefix), "PIXI_PROJECT_ROOT": str(ROOT)}
    code = "".join(f". ./{script}\n" for script in scripts) + "env -0"
    done = subprocess.run(["dash", "-euc", code], env=env, capture_output=True, check=True, cwd=ROOT, timeout=60)
    assert runners.parse(done.stdout)["DO_NOT_TRACK"] == "1"
    assert done.stderr == b""
