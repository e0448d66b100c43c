"""Compare what a shell did with what the table of cases says."""

from __future__ import annotations

from collections.abc import Mapping

from shells import cases
from shells.runners import Run, Shell


def change(before: Mapping[str, str], after: Mapping[str, str], *, ours: bool = False) -> dict[str, str | None]:
    """What differs between two environments, without our own bookkeeping unless ``ours``."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return {name: after.get(name) for name in names if ours or not name.startswith("__PREFECT_ENV")}


def folded(env: Mapping[str, str | None]) -> dict[str, str | None]:
    """``env`` as a shell sees it that takes HTTP_PROXY and http_proxy for one variable."""
    return {cases.TWINS.get(name, name): value for name, value in env.items()}


def check(shell: Shell, case: cases.Case, run: Run) -> None:
    """Compare one run with the table."""
    before, active, again, after = run.steps
    wanted, found = case.activated(), change(before, active)
    if shell.one_case:
        wanted = {name: value for name, value in folded(wanted).items() if folded(before).get(name) != value}
        found = folded(found)
    assert found == wanted, (found, wanted)
    assert again == active, "the second activation changed something"
    assert change(before, after, ours=True) == case.deactivated()
    said = case.row.get("says")
    if said:
        assert said in run.stderr
        assert all(line.startswith("prefect-env: ") for line in run.stderr.splitlines() if line.strip())
    else:
        assert run.stderr == "", run.stderr
