"""Every case of the table in every shell: what is set, what is said, and that all is as before afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_env import bundle
from shells import cases, runners
from shells.checks import check
from shells.fixtures import starts
from shells.runners import SHELLS, Run, Shell

ROWS = cases.rows()
IDS = [row["name"] for row in ROWS]


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, cases.Case]:
    """All cases on disk with their state prepared, as after a first activation."""
    place = tmp_path_factory.mktemp("cases")
    return {row["name"]: cases.lay_out(row, place / str(number)) for number, row in enumerate(ROWS)}


@pytest.fixture(scope="session")
def in_xonsh(laid_out: dict[str, cases.Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The runs of all cases in one xonsh."""
    jobs = [runners.Job(case.prefix, case.environment, case.row.get("meanwhile", {})) for case in laid_out.values()]
    return dict(zip(laid_out, runners.batch(jobs, tmp_path_factory.mktemp("xonsh")), strict=True))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
def test_sourced(
    shell: Shell, name: str, laid_out: dict[str, cases.Case], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The scripts sourced as conda does, state fresh: right in and right out, and Python is never started."""
    case = laid_out[name]
    if runners.program(shell) is None:
        pytest.skip(f"{shell.name} is not installed")
    if shell.one_case and case.row.get("posix"):
        pytest.skip(f"{shell.name} cannot hold both cases of a variable")
    if shell.name == "xonsh":
        run = request.getfixturevalue("in_xonsh")[name]
    else:
        run = runners.run(
            shell, case.prefix, case.environment, tmp_path / "run", meanwhile=case.row.get("meanwhile", {})
        )
    check(shell, case, run)
    assert starts(case.prefix) == 0


@pytest.mark.parametrize("name", [row["name"] for row in ROWS if "bundle" in row])
def test_bundle(name: str, laid_out: dict[str, cases.Case]) -> None:
    """The bundle has the certificates of the case, each once and in order, and nothing else."""
    case = laid_out[name]
    assert case.bundle is not None
    wanted = [der for part in case.row["bundle"] for der in case.certificates.holds[part]]
    assert bundle.certificates(case.bundle) == wanted
    assert case.bundle.read_bytes() == b"".join(bundle.pem(der) for der in wanted)
