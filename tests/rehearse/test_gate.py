"""No lock is written that nobody ran: what is red is refused with the one to blame, what is marked fails the check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maintain.channel.locked import Part, part_of
from maintain.channel.release import BOOKWORM
from maintain.check import drift
from maintain.lib.errors import ToolError
from maintain.lock import lockfile, store
from maintain.lock.package import Package, Solution, solution
from maintain.lock.plan import Update
from maintain.lock.relock import relock
from maintain.manifest import load
from maintain.rehearse import agenda as agendas
from maintain.rehearse import gate, hunt, perform, prefix, results
from maintain.rehearse.agenda import Act, agenda
from maintain.rehearse.book import Book
from maintain.rehearse.culprit import Culprit
from maintain.rehearse.perform import Trial
from maintain.rehearse.results import Record, Run
from maintain.rehearse.trial import Step
from support import tiny_channel
from support.tiny_project import project, records

__all__ = ["project", "records"]

OLD, NEW = {"prefect": "3.6.24", "fastapi": "0.136.3", "idna": "3.18"}, {"fastapi": "0.141.1", "idna": "3.20"}


def packages(versions: dict[str, str]) -> tuple[Package, ...]:
    def package(name: str, version: str, *depends: str) -> Package:
        return Package(name, version, "py_0", "noarch", "", "0" * 64, None, 1, "MIT", depends, ())

    return (
        package("python", "3.13.5"),
        package("openssl", "3.6.0"),
        *(package(name, version, "python >=3.10") for name, version in versions.items()),
    )


def run(**steps: bool) -> Run:
    return Run("bookworm", "sqlite", {"python": "3.11.2"}, steps, "2026-11-27")


def act(versions: dict[str, str]) -> Act:
    (found,) = agenda({("default", "linux-64"): packages(versions)})
    return found


@pytest.fixture
def before() -> Solution:
    return {("default", "linux-64"): packages(OLD)}


@pytest.fixture
def after() -> Solution:
    return {("default", "linux-64"): packages({**OLD, **NEW})}


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> list[Act]:
    """Rehearsals that fail where fastapi is new, and are noted."""
    tried: list[Act] = []

    def perform_(acts: list[Act], *_: object) -> Iterator[Trial]:
        for one in acts:
            tried.append(one)
            yield trial(one)

    def trial(one: Act) -> Trial:
        ok = one.part.version("fastapi") != NEW["fastapi"]
        step = Step("server", ok, "/ready 200" if ok else "up, but dead\nit has no attribute 'routes'")
        return Trial(one, run(server=ok), (step,), None)

    monkeypatch.setattr(perform, "perform", perform_)
    monkeypatch.setattr(prefix, "stage", lambda release: release)
    monkeypatch.setattr(Book, "complete", lambda self, parts: [list(parts), []][1])
    return tried


def test_what_is_green_is_written_with_its_runs(before: Solution, rehearsal: list[Act]) -> None:
    found = gate.rehearsed(load(), {}, before, store.Evidence())
    (one,) = rehearsal
    assert results.lacking(found.results, one) is None
    assert gate.rehearsed(load(), {}, before, found) is found and len(rehearsal) == 1, "what ran is not run again"


def test_what_is_dead_is_refused_with_the_one_to_blame(
    before: Solution, after: Solution, rehearsal: list[Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = []

    def culprit_of(good: dict[str, str], bad: dict[str, str], case: hunt.Case, *_: object, proven: bool) -> Culprit:
        cases.append((good, bad, case, proven))
        return Culprit({"fastapi": (OLD["fastapi"], NEW["fastapi"])}, 2)

    monkeypatch.setattr(hunt, "culprit_of", culprit_of)
    with pytest.raises(ToolError) as caught:
        gate.rehearsed(load(), before, after, store.Evidence())
    error = caught.value
    assert error.id == "check-failed" and error.where == "recipe/bounds.toml"
    assert "to blame: fastapi 0.136.3 -> 0.141.1 (found by 2 more runs)" in str(error.why)
    assert 'spec = "fastapi<0.141.1"' in str(error.fix) and "scripts/recipe bounds && scripts/lock" in str(error.fix)
    ((good, bad, case, proven),) = cases
    assert (good["fastapi"], bad["fastapi"], case.step, case.release) == ("0.136.3", "0.141.1", "server", BOOKWORM)
    assert not proven, "nobody has run the lock before"


def test_a_first_lock_that_is_dead_has_nothing_to_bisect_from(after: Solution, rehearsal: list[Act]) -> None:
    with pytest.raises(ToolError) as caught:
        gate.rehearsed(load(), {}, after, store.Evidence())
    assert "no attribute 'routes'" in str(caught.value.why) and gate.ANYWAY in str(caught.value.fix)


def test_a_host_that_cannot_rehearse_is_told_the_other_way(before: Solution, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: object) -> None:
        raise ToolError("unsupported-host", "this machine cannot make the stand-in channel", fix="use another")

    monkeypatch.setattr(prefix, "stage", cannot)
    monkeypatch.setattr(Book, "complete", lambda self, parts: [])
    with pytest.raises(ToolError) as caught:
        gate.rehearsed(load(), {}, before, store.Evidence())
    assert gate.ANYWAY in str(caught.value.fix)


def test_a_refused_lock_changes_nothing(project: Path, tmp_path: Path, rehearsal: list[Act]) -> None:
    newer = tiny_channel.record("openssl", "3.6.1", "h1_0", "linux-64", [tiny_channel.GLIBC])
    folder = tiny_channel.write_records(tmp_path / "newer", [*tiny_channel.records(), newer])
    files = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    def refuse(*_: object) -> store.Evidence:
        raise ToolError("check-failed", "dead")

    with pytest.raises(ToolError):
        relock(project, folder, Update(everything=True), gate=refuse)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == files


def test_what_is_written_all_the_same_is_marked_and_fails_the_check(project: Path, records: Path) -> None:
    lock = lockfile.read(project / "pixi.lock")
    manifest = load(project / "pixi.toml")
    if not any(one.part.packages for one in agenda(solution(lock.records))):
        pytest.fail("the tiny project has no Python packages")
    relock(project, records, Update(), gate=gate.marked)
    found = list(drift.rehearsals(project, manifest, lock))
    assert found and all(one.fix.startswith("scripts/rehearse ") for one in found)
    assert "only solved" in (project / "envs" / "README.md").read_text()
    assert results.read(project / results.PATH), "marked"


def test_one_red_run_is_enough_and_every_database_has_to_have_run() -> None:
    one = act(OLD)
    known = {one.part.digest: Record("3.6.24", 3, {}, (run(server=True, flow=False),))}
    assert "flow" in str(results.lacking(known, one))
    assert results.lacking({}, one) == "nobody has run it"
    both = Act(one.part, one.places, ("sqlite", "postgresql"), ())
    known = {one.part.digest: Record("3.6.24", 3, {}, (run(server=True),))}
    assert results.lacking(known, one) is None and "postgresql" in str(results.lacking(known, both))


def test_a_part_is_what_depends_on_python_and_changes_with_versions_alone() -> None:
    part = part_of(packages(OLD))
    assert part.projects == OLD and part.python == "3.13.5"
    assert part.digest == part_of(tuple(reversed(packages(OLD)))).digest
    assert part.digest != part_of(packages({**OLD, "idna": "3.19"})).digest
    windows = Part("3.13.5", (("fastapi-core", "1"), ("pywin32", "312"), ("redis-py", "7.4.0")))
    assert windows.projects == {"fastapi": "1", "redis": "7.4.0"}
    assert windows.left_out == {"pywin32": "for Windows only"}


def test_results_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rehearsed.json"
    for text in ("{", "[]", '{"format": 9}', '{"format": 1, "parts": {"x": {}}}'):
        file.write_text(text)
        with pytest.raises(ToolError) as caught:
            results.read(file)
        assert caught.value.id == "bad-file" and caught.value.where == str(file)
    assert agendas.SQLITE == "sqlite" and results.read(tmp_path / "none") == {}
