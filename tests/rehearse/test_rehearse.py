"""scripts/rehearse for real: every environment of the lock, on every stage that this machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maintain.channel.release import RELEASES, Release, of_host
from maintain.channel.root import root_of
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK
from maintain.lock import lockfile
from maintain.lock.package import solution
from maintain.manifest import load
from maintain.rehearse import results
from maintain.rehearse.agenda import POSTGRESQL, SQLITE, agenda, requested
from support.commands import script

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.usefixtures("host"), pytest.mark.timeout(1200)]

SERVER = ("server", "flow", "worker", "commands", "stop", "pip check", "command groups")


@pytest.fixture(scope="module")
def stages(host: None) -> list[str]:
    """The releases that programs can be run on here."""
    found = []
    for release in RELEASES.values():
        try:
            root_of(release)
        except ToolError as error:
            if release == of_host() or error.id not in ("unsupported-host", "missing-program"):
                raise
            continue  # said by the first test
        found.append(release.name)
    return found


@pytest.fixture(scope="module")
def runs(stages: list[str]) -> Iterator[list[dict[str, Any]]]:
    """What a rehearsal of everything says."""
    options = [word for name in stages for word in ("--release", name)]
    done = script("rehearse", "--no-write", "--json", "--jobs", "2", *options, trouble=True, timeout=1200)
    yield json.loads(done.stdout)


@pytest.mark.parametrize("release", RELEASES.values(), ids=str)
def test_there_is_a_place_to_rehearse_on(release: Release) -> None:
    try:
        root_of(release)
    except ToolError as error:
        pytest.skip(f"not rehearsed on {release}: {error.what}: {error.why}")


def test_everything_that_is_locked_has_run_green(runs: list[dict[str, Any]]) -> None:
    wrong = [(run["environments"], step) for run in runs for step in run["steps"] if not step["ok"]]
    assert not wrong
    acts = agenda(solution(lockfile.read(LOCK).records), requested(load()))
    for act in acts:
        own = [run for run in runs if run["digest"] == act.part.digest]
        assert {run["database"] for run in own} == set(act.databases), act.title
    assert {run["digest"] for run in runs} == {act.part.digest for act in acts}


def test_a_server_was_tried_with_all_that_it_has(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        names = [step["name"] for step in run["steps"]]
        if run["prefect"]:
            assert set(SERVER) <= set(names)
            assert ("upgrade" in names) == (run["database"] == SQLITE)
            assert ("postgresql" in run["versions"]) == (run["database"] == POSTGRESQL)
        else:
            assert {"pip check", "programs"} <= set(names)


def test_the_lock_on_its_own_python_and_on_the_stand_ins(runs: list[dict[str, Any]], stages: list[str]) -> None:
    mine = [run for run in runs if "default/linux-64" in run["environments"]]
    assert {run["stage"] for run in mine} == set(stages)
    assert {run["versions"]["python"][:4] for run in mine} == {RELEASES[name].python for name in stages}
    assert all("redis" in run["versions"] for run in mine if run["database"] == POSTGRESQL)


def test_what_is_recorded_is_of_this_lock() -> None:
    known = results.read()
    for act in agenda(solution(lockfile.read(LOCK).records), requested(load())):
        assert results.lacking(known, act) is None, act.title
        assert known[act.part.digest].equal + len(act.part.left_out) == len(act.part.packages)


def test_nothing_is_written_when_not_asked(runs: list[dict[str, Any]]) -> None:
    assert runs
    done = script("check", trouble=True)
    assert "all checks passed" in done.stdout


def test_an_unknown_environment_is_answered_with_the_known(tmp_path: Path) -> None:
    done = script("rehearse", "nope", code=2, trouble=True)
    assert "there is no environment nope" in done.stderr and "prefect-3-5" in done.stderr
