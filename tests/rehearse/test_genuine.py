"""The genuine packages: what may be said of them, results between hosts, and what is to blame among conda's packages.

No conda-forge is at hand: tiny packages stand for its, and the trial itself runs in a stand-in's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rattler import Config

from install import dummies
from install.test_lock import lock as write_lock
from maintain.channel.build import OUTPUT, build_channel
from maintain.install import choice as choices
from maintain.install.choice import Choice
from maintain.install.network import CONDA_FORGE
from maintain.lib import server as servers
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import LOCK
from maintain.lock import lockfile
from maintain.lock.package import Package, Solution, solution
from maintain.manifest import load
from maintain.rehearse import __main__ as command
from maintain.rehearse import conda, genuine, merge, perform, prefix, services, trial
from maintain.rehearse.agenda import NONE, SQLITE, Act, agenda
from maintain.rehearse.culprit import Culprit
from maintain.rehearse.genuine import HERE, Source
from maintain.rehearse.page import Proven
from maintain.rehearse.perform import Trial
from maintain.rehearse.results import Run, add, lacking, read, text
from maintain.rehearse.trial import Step, Subject
from support.standin import standin
from support.tiny_project import project, records

__all__ = ["project", "records"]

PYTHON = b"""#!/bin/sh
[ "$1" = -c ] && echo '{"python": "3.13.1", "sqlite": "3.50.0", "openssl": "3.5.0"}'
case "$1" in *programs.py) ! grep dead "$CONDA_PREFIX/share/tool.txt" ;; esac
"""
"""What a trial asks Python for in an environment without Prefect."""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixes, caches and reports below the test's folder; no pip, which the fake Python does not run anyway."""
    monkeypatch.setattr(genuine, "HOME", tmp_path / "home")
    monkeypatch.setattr(prefix, "HOME", tmp_path / "build")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(perform, "pip_wheel", lambda folder: folder / "pip.whl")


@pytest.fixture
def mirror(tmp_path: Path, cache: None) -> Path:
    """A channel of a Python and a tool that runs."""
    channel = tmp_path / "mirror"
    dummies.package(channel, "python", "3.13.1", files={"bin/python": PYTHON}, subdir=HERE)
    dummies.package(channel, "tool", files={"share/tool.txt": b"runs"}, depends=["python >=3.11"])
    return dummies.index(channel)


def rehearse(*arguments: str | Path) -> int:
    return int(command.cli.main([str(word) for word in arguments], standalone_mode=False))


def rehearsed(channel: Path, tmp_path: Path, url: str = CONDA_FORGE, code: int = 0) -> merge.Report:
    """The result of ``--genuine`` with a lock of all packages of ``channel``, as the packages of ``url``."""
    write_lock(channel, tmp_path / "pixi.lock", url=url)
    result = tmp_path / "result.json"
    lock = ("--channel", channel, "--lock", tmp_path / "pixi.lock")
    assert rehearse("--genuine", "default", *lock, "--result", result) == code
    return merge.read(result)


@pytest.mark.skipif(os.name == "nt", reason="the fake Python is a shell script")
def test_what_is_locked_of_conda_forge_counts_as_its_packages_wherever_they_come_from(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = rehearsed(mirror, tmp_path).entries
    assert entry.run.ok and (entry.run.stage, entry.run.database) == (f"conda-forge {HERE}", NONE)
    assert set(entry.run.steps) == {"pip check", "programs"} and entry.run.versions["python"] == "3.13.1"
    (act,) = agenda(solution(lockfile.read(tmp_path / "pixi.lock").records))
    assert (entry.digest, entry.run.packages) == (act.part.digest, act.wholes[0])
    assert (tmp_path / "home/genuine-default/share/tool.txt").read_text() == "runs"
    assert "1 of 1 runs are green" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="the fake Python is a shell script")
def test_what_fails_is_red_and_is_written_with_the_reason(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dummies.package(mirror, "tool", files={"share/tool.txt": b"dead"}, depends=["python >=3.11"])
    report = rehearsed(dummies.index(mirror), tmp_path, code=int(Exit.CHECK_FAILED))
    assert not report.entries[0].run.ok and "programs: dead" in report.refused["why"]
    assert "this set of packages is dead [check-failed]" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="the fake Python is a shell script")
def test_a_python_that_does_not_start_is_the_environments_fault(mirror: Path, tmp_path: Path) -> None:
    dummies.package(mirror, "python", "3.13.1", files={"bin/python": b"#!/bin/sh\nexit 3\n"}, subdir=HERE)
    (entry,) = rehearsed(dummies.index(mirror), tmp_path, code=int(Exit.CHECK_FAILED)).entries
    assert entry.run.steps == {"start": False}


@pytest.mark.skipif(os.name == "nt", reason="the fake Python is a shell script")
def test_what_is_locked_of_another_channel_is_not_conda_forges(mirror: Path, tmp_path: Path, project: Path) -> None:
    report = rehearsed(mirror, tmp_path, url=mirror.as_uri())
    assert report.entries[0].run.stage == f"another channel {HERE}"
    done = merge.merge(project, [report])
    assert not done.taken and "no packages of conda-forge's" in done.left[0]


def test_a_stand_in_is_called_that(mirror: Path, tmp_path: Path) -> None:
    (mirror / "stand-in.json").write_text("{}")
    of = genuine.source(str(mirror), LOCK, {})
    assert of.stage == "stand-in" and not of.genuine
    write_lock(mirror, tmp_path / "pixi.lock")
    with pytest.raises(ToolError, match=r"the versions of pixi\.lock alone"):
        genuine.source(str(mirror), tmp_path / "pixi.lock", {})


def test_no_stand_in_is_built_for_who_wants_genuine_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object) -> bytes:
        raise OSError("nobody answers")

    monkeypatch.delenv(choices.VARIABLE, raising=False)
    monkeypatch.setattr(choices, "head", silent)
    monkeypatch.setattr(choices, "configuration", Config)
    with pytest.raises(ToolError) as caught:
        genuine.source(None, LOCK, {})
    assert caught.value.id == "network" and caught.value.why == "nobody answers"


def test_an_environment_that_is_not_locked_for_this_platform(project: Path) -> None:
    with pytest.raises(ToolError) as caught:
        genuine.acts_here(solution(lockfile.read(project / "pixi.lock").records), (), ("nope",))
    assert caught.value.id == "unsupported-host" and HERE in caught.value.what


@pytest.mark.parametrize(
    "words",
    [
        ("--channel", "x"),
        ("--result", "x"),
        ("--genuine", "--release", "trixie"),
        ("--merge",),
        ("--merge", "--genuine", "x"),
        ("--genuine", "nope"),
    ],
)
def test_options_that_do_not_go_together(words: tuple[str, ...]) -> None:
    assert rehearse(*words) == int(Exit.USAGE)


# Results between hosts. ------------------------------------------------------------------------------------------


@pytest.fixture
def locked(project: Path) -> Solution:
    return solution(lockfile.read(project / "pixi.lock").records)


def act_of(locked: Solution, environment: str, subdir: str) -> Act:
    (act,) = agenda({(environment, subdir): locked[environment, subdir]})
    return act


def ran(locked: Solution, subdir: str = "win-64", *, ok: bool = True) -> Trial:
    """A run of genuine packages of ``default``."""
    act = act_of(locked, "default", subdir)
    run = Run(f"conda-forge {subdir}", SQLITE, {"python": "3.13.1"}, {"server": ok}, "2026-11-27", act.wholes[0])
    return Trial(act, run, (Step("server", ok, "it says no"),), None)


def written(project: Path, *found: Trial, change: Callable[[Any], Any] = lambda data: data) -> merge.Report:
    """The results as a host writes them and another reads them, after a ``change``."""
    path = project.parent / "result.json"
    merge.write(path, project / "pixi.lock", found, None)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return merge.read(path)


def test_results_go_round_and_the_pages_say_what_ran_where(project: Path, locked: Solution) -> None:
    done = merge.merge(project, [written(project, ran(locked))])
    assert [one.run for one in done.taken] == [ran(locked).run] and not done.left
    assert "envs/rehearsed.json" in done.files
    known = read(project / "envs/rehearsed.json")
    assert lacking(known, act_of(locked, "default", "win-64")) is None
    proven = Proven(load(project / "pixi.toml"), agenda(locked), known)
    assert proven.mark("default", "win-64") == "run"
    assert proven.mark("default", "linux-64") == proven.mark("old", "win-64") == "only solved"
    row = next(row for row in proven.table() if row[:2] == ["`default`", "win-64"])
    assert row[3:] == ["Python 3.13.1: SQLite (2026-11-27)", "only solved", "-"]
    assert merge.merge(project, [written(project, ran(locked))]).files == (), "the second time nothing changes"


def test_a_run_says_nothing_of_other_packages_beside_the_same_python_part(locked: Solution) -> None:
    one = ran(locked)
    known = add({}, one.act, 1, [one.run])
    other = replace(one.act, wholes=("another build of OpenSSL",))
    assert lacking(known, one.act) is None and lacking(known, other) == "nobody has run it"
    assert "conda-forge" in text(known, [one.act]) and "conda-forge" not in text(known, [other])


def test_environments_that_share_their_python_part_are_apart(project: Path, locked: Solution) -> None:
    packages = locked["default", "win-64"]
    twin = tuple(replace(one, build="other", url=f"{one.url}#") if one.name == "openssl" else one for one in packages)
    (both,) = agenda({("default", "win-64"): packages, ("old", "win-64"): twin})
    assert len(set(both.wholes)) == 2
    proven = Proven(load(project / "pixi.toml"), [both], add({}, both, 1, [ran(locked).run]))
    assert proven._runs(both, "default", "win-64") and not proven._runs(both, "old", "win-64")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": "0" * 64}, "not those that are locked here"),
        ({"packages": "0" * 64}, "not those that are locked here"),
        ({"stage": "conda-forge linux-64"}, "not those that are locked here"),
        ({"database": "postgresql"}, "not those that are locked here"),
        ({"stage": "stand-in"}, "no packages of conda-forge's"),
        ({"stage": "trixie"}, "no packages of conda-forge's"),
    ],
)
def test_what_is_not_of_this_lock_is_named_and_left_out(
    project: Path, locked: Solution, change: dict[str, str], why: str
) -> None:
    report = written(project, ran(locked), change=lambda data: data["runs"][0].update(change))
    done = merge.merge(project, [report])
    assert not done.taken and not done.files
    assert done.left[0].startswith("result.json: default on win-64, ") and why in done.left[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1, "lock": "", "refused": {}}',
        b'{"format": 1, "lock": "", "refused": {}, "runs": 5}',
        b'{"format": 1, "lock": "", "refused": {}, "runs": ["a"]}',
        b'{"format": 1, "lock": "", "refused": 5, "runs": []}',
    ],
)
def test_a_file_that_is_no_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ToolError) as caught:
        merge.read(tmp_path / "x.json")
    assert caught.value.id == "bad-file" and caught.value.where == str(tmp_path / "x.json")


@pytest.mark.parametrize(
    "change",
    [{"steps": {"server": "true"}}, {"versions": {"python": 3}}, {"versions": {}}, {"date": None}, {"packages": 5}],
)
def test_a_run_that_is_none(project: Path, locked: Solution, change: dict[str, Any]) -> None:
    with pytest.raises(ToolError) as caught:
        written(project, ran(locked), change=lambda data: data["runs"][0].update(change))
    assert caught.value.id == "bad-file"


def test_merging_says_what_is_red_and_the_lines_to_add(
    project: Path, locked: Solution, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", project)
    red = ran(locked, ok=False)
    path = project.parent / "red.json"
    error = ToolError("check-failed", "this set of packages is dead", why="server", fix='spec = "fastapi<0.137"')
    merge.write(path, project / "pixi.lock", [red], error)
    assert rehearse("--merge", path) == int(Exit.CHECK_FAILED)
    said = capsys.readouterr().out
    assert "RED  default on win-64" in said and 'fix: spec = "fastapi<0.137"' in said
    assert "its rehearsal failed" in str(lacking(read(project / "envs/rehearsed.json"), red.act))
    merge.write(path, project / "pixi.lock", [ran(locked)], None)
    assert rehearse("--merge", path) == int(Exit.DONE), "a green run takes the place of the red one"
    assert lacking(read(project / "envs/rehearsed.json"), red.act) is None


# What is to blame. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depends", "line"),
    [
        ("openssl", "openssl"),
        ("openssl >=3.5,<4.0a0", "openssl >=3.5,<4.0a0"),
        ("libsqlite 3.53.0 h1_0", "libsqlite ==3.53.0"),
        ("fastapi-core ==0.141.1 pyh_0", "fastapi-core ==0.141.1"),
        ("typing_extensions >=4", "typing-extensions >=4"),
        ("_openmp_mutex >=4.5", "openmp-mutex >=4.5"),
        ("numpy 1.26.*", "numpy ~=1.26.0"),
        ("numpy =1.26", "numpy ~=1.26.0"),
        ("numpy >=1.26.*", "numpy >=1.26"),
        ("numpy *", "numpy"),
        ("numpy !=1.2.*,>=1", "numpy !=1.2.*,>=1"),
        ("numpy 1.2|2.0", "numpy"),
        ("jpeg 9e", "jpeg"),
        ("python >=3.10", None),
        ("python_abi 3.13.* *_cp313", None),
        ("__glibc >=2.17,<3.0.a0", None),
    ],
)
def test_a_depends_as_a_requirement(depends: str, line: str | None) -> None:
    assert conda.requirement(depends) == line


def made(name: str, version: str, *depends: str, build: str = "0") -> Package:
    return Package(name, version, build, "noarch", f"{name}-{version}", None, None, None, None, depends, ())


def test_of_two_builds_only_what_both_ask_for_is_the_versions() -> None:
    good = [made("lib", "1", "icu >=75,<76", "zlib"), made("zlib", "1")]
    bad = [made("lib", "1", "icu >=78,<79", "zlib", build="1"), made("zlib", "2")]
    known = conda.Metadata.of(good, bad)
    assert known.requires("lib", "1") == ["zlib"] and known.requires("gone", "1") == []
    assert known.specs["lib", "1"] == ["lib ==1"] and known.specs["zlib", "2"] == ["zlib ==2"]


def test_names_that_differ_in_a_dash_move_as_one() -> None:
    good = [made("typing-extensions", "4.1"), made("typing_extensions", "4.1")]
    assert conda.versions(good) == {"typing-extensions": "4.1"}
    assert conda.Metadata.of(good).specs["typing-extensions", "4.1"] == [
        "typing-extensions ==4.1",
        "typing_extensions ==4.1",
    ]


def test_the_culprit_has_the_indexs_name_or_condas() -> None:
    packages = [made("redis-py", "8", "python"), made("fastapi-core", "2", "python"), made("_x", "1"), made("y", "1")]
    found = Culprit({"redis-py": ("7", "8"), "fastapi-core": ("1", "2"), "x": (None, "1")}, 3)
    named, native = conda.named(found, packages)
    assert named.moved == {"redis": ("7", "8"), "fastapi": ("1", "2"), "_x": (None, "1")}
    assert native == {"_x"} and named.tries == 3


@pytest.fixture
def moved(tmp_path: Path, cache: None) -> Iterator[tuple[Path, Solution, Solution]]:
    """A channel, a set that runs and one that does not: ``widget`` is to blame, ``native`` fits one Python alone."""
    channel = tmp_path / "channel"
    for version, python in (("1.0", "3.13"), ("2.0", "3.14")):
        dummies.package(channel, "python", f"{python}.1", files={"share/p": b""}, subdir=HERE)
        dummies.package(channel, "native", version, files={"share/n": b""}, depends=[f"python {python}.*"])
        dummies.package(channel, "widget", version, files={"share/widget": version.encode()}, depends=["python"])
        dummies.package(channel, "other", version, files={"share/o": b""})
        dummies.package(channel, "prefect", "3.6.24", files={"share/prefect": b""}, depends=["python"])
    dummies.index(channel)
    write_lock(channel, tmp_path / "both.lock")
    every = solution(lockfile.read(tmp_path / "both.lock").records)["default", HERE]

    def half(python: str, version: str) -> Solution:
        chosen = {"python": python, "prefect": "3.6.24"}
        return {("default", HERE): tuple(one for one in every if one.version == chosen.get(one.name, version))}

    yield channel, half("3.13.1", "1.0"), half("3.14.1", "2.0")


def blamed(
    moved: tuple[Path, Solution, Solution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> ToolError | None:
    """What is said when whatever has ``wrong`` in ``share/widget`` fails, as the trial would find."""
    channel, before, after = moved

    def until(subject: Subject, *_: object) -> Iterator[Step]:
        yield Step("server", (subject.prefix / "share/widget").read_text() not in wrong, "it says no")

    monkeypatch.setattr(trial, "until", until)
    (act,) = genuine.acts_here(after)
    run = Run(f"conda-forge {HERE}", SQLITE, {"python": "3.14.1"}, {"server": False}, "2026-11-27", act.wholes[0])
    red = Trial(act, run, (Step("server", False, "it says no"),), None)
    of = Source(Choice(channel.as_uri(), False, "the test says so"), tmp_path / "pixi.lock", run.stage)
    return genuine.refused([red], before, after, of, tmp_path)


def test_the_package_to_blame_is_found_among_the_channels(
    moved: tuple[Path, Solution, Solution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = blamed(moved, tmp_path, monkeypatch, "2.0")
    assert error and error.why and error.fix
    assert "to blame: widget 1.0 -> 2.0 (found by " in error.why
    assert "mixtures that could not be installed, which says nothing: " in error.why, "native wants its own Python"
    assert 'prefect = ">=3.6,<3.7"\nspec = "widget<2.0"' in error.fix and 'dead = ["2.0"]' in error.fix


@pytest.mark.parametrize("wrong", ["1.0 2.0", "none"], ids=["the set before fails too", "it does not fail again"])
def test_nobody_is_blamed_without_evidence(
    moved: tuple[Path, Solution, Solution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    error = blamed(moved, tmp_path, monkeypatch, wrong)
    assert error and "to blame" not in str(error.why) and "[[bound]]" not in str(error.fix)


def test_without_the_lock_before_the_failure_is_told_alone(
    moved: tuple[Path, Solution, Solution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, _, after = moved
    error = blamed((channel, {}, after), tmp_path, monkeypatch, "2.0")
    assert error and error.why == "server: it says no"


def test_the_database_to_upgrade_is_the_newest_older_prefects_that_ran(tmp_path: Path, locked: Solution) -> None:
    base = ran(locked)

    def one(prefect: str, *, ok: bool = True) -> Trial:
        packages = (made("prefect", prefect, "python"), made("python", "3.13.1"))
        (act,) = agenda({("default", "win-64"): packages})
        return replace(base, act=act, run=replace(base.run, steps={"server": ok}), database=tmp_path / prefect)

    found = [one("3.9.0"), one("3.10.0"), one("3.11.0", ok=False), one("3.12.0")]
    assert genuine.older(found, one("3.12.0").act) == tmp_path / "3.10.0"
    assert genuine.older(found, one("3.9.0").act) is None


# PostgreSQL of the environment's own. ----------------------------------------------------------------------------


def test_postgresql_from_the_programs_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = sorted(services.POSTGRESQL.glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL on this machine")
    monkeypatch.setattr(services, "POSTGRESQL", Path("/nowhere"))
    monkeypatch.setenv("PGPORT", "1")
    with services.postgresql(folders[0]) as url:
        assert url.startswith("postgresql+asyncpg://prefect@127.0.0.1:")
        assert services.versions(redis=False, programs=folders[0])["postgresql"].startswith(folders[0].parent.name)


@pytest.mark.parametrize(("windows", "folder"), [(False, "bin"), (True, "Library/bin")])
def test_where_an_environment_has_its_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool, folder: str
) -> None:
    monkeypatch.setattr(servers, "WINDOWS", windows)
    with pytest.raises(ToolError, match="the environment has no PostgreSQL server"):
        services.programs_of(tmp_path)
    program = tmp_path / folder / ("initdb.exe" if os.name == "nt" else "initdb")
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert services.programs_of(tmp_path) == tmp_path / folder
    path = servers.environment(tmp_path, tmp_path / "home")["PATH"].split(os.pathsep)
    assert str(tmp_path / folder) in path and (str(tmp_path / "Scripts") in path) == windows


# For real. -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_trial_in_installed_packages(tmp_path: Path) -> None:
    standin()  # skips where none can be made
    channel = build_channel(["3"], OUTPUT, environments=["prefect-3-5"])
    result = tmp_path / "result.json"
    assert rehearse("--genuine", "prefect-3-5", "--channel", channel, "--result", result) == 0
    (entry,) = merge.read(result).entries
    assert (entry.run.stage, entry.run.packages, entry.run.database) == ("stand-in", "", SQLITE)
    assert {"command groups", "pip check", "server", "flow", "worker", "commands", "stop"} == set(entry.run.steps)
