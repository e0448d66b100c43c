"""scripts/lock: what it solves, keeps, moves and refuses, on a channel of made-up records."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from maintain.check.__main__ import findings
from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import exclusive
from maintain.lib.paths import ROOT
from maintain.lock import __main__ as command
from maintain.lock import lockfile, tools
from maintain.lock import records as sources
from maintain.lock.plan import Update
from maintain.lock.relock import relock
from support import tiny_channel
from support.tiny_channel import contents, record, write_records


def versions(root: Path, environment: str = "default", subdir: str = "linux-64") -> dict[str, str]:
    locked = lockfile.read(root / "pixi.lock").records[environment, subdir]
    return {item.name.normalized: str(item.version) for item in locked}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_each_platform_gets_its_own_specs(project: Path) -> None:
    assert versions(project)["prefect"] == "3.6.1"
    assert versions(project, subdir="win-64")["prefect"] == "3.5.0"


def test_the_solver_sees_the_declared_glibc_and_no_incomplete_records(project: Path) -> None:
    assert versions(project, "old")["native"] == "1.0"


def test_a_declared_newer_glibc_admits_newer_packages(project: Path, records: Path) -> None:
    edit(project / "pixi.toml", 'glibc = "2.17"', 'glibc = "2.28"')
    relock(project, records, Update(everything=True))
    assert versions(project, "old")["native"] == "2.0"


def test_the_same_records_give_the_same_bytes(project: Path, records: Path, tmp_path: Path) -> None:
    again = tiny_channel.write_project(tmp_path / "again")
    relock(again, records, Update())
    assert contents(again) == contents(project)
    relock(project, records, Update(everything=True))
    assert contents(again) == contents(project)


def test_what_is_locked_and_fits_needs_no_records(project: Path, tmp_path: Path) -> None:
    before = contents(project)
    result = relock(project, tmp_path / "nowhere", Update())
    assert (result.plan.solved, result.files, contents(project)) == ([], [], before)


def test_new_records_move_only_what_is_named(project: Path, tmp_path: Path) -> None:
    newer = [
        record("openssl", "3.6.1", "h1_0", "linux-64", [tiny_channel.GLIBC]),
        record("python", "3.13.2", "h1_0", "linux-64", [tiny_channel.GLIBC, "libsqlite >=3.50", "openssl >=3.5"]),
    ]
    folder = write_records(tmp_path / "newer", [*tiny_channel.records(), *newer])
    assert relock(project, folder, Update()).changes == {}
    result = relock(project, folder, Update(names=frozenset({"openssl"})))
    assert {change.text() for group in result.changes.values() for change in group} == {"  openssl 3.6.0 -> 3.6.1"}
    assert versions(project)["python"] == "3.13.1"
    relock(project, folder, Update(everything=True))
    assert versions(project)["python"] == "3.13.2"


def test_a_changed_spec_moves_what_it_must_and_keeps_the_rest(project: Path, tmp_path: Path) -> None:
    newer = record("openssl", "3.6.1", "h1_0", "linux-64", [tiny_channel.GLIBC])
    folder = write_records(tmp_path / "newer", [*tiny_channel.records(), newer])
    edit(project / "pixi.toml", 'python = ">=3.12,<3.14"', 'python = ">=3.12,<3.13"')
    relock(project, folder, Update())
    assert versions(project)["python"] == "3.12.1"
    assert versions(project)["openssl"] == "3.6.0"


def test_a_name_that_is_not_locked_is_refused(project: Path, records: Path) -> None:
    with pytest.raises(ToolError, match="not locked: opensssl") as caught:
        relock(project, records, Update(names=frozenset({"opensssl"})))
    assert caught.value.id == "bad-usage"


def test_an_impossible_spec_is_explained_and_changes_nothing(project: Path, records: Path) -> None:
    edit(project / "pixi.toml", 'prefect = ">=3.6,<4"', 'prefect = ">=9"')
    line = (project / "pixi.toml").read_text().splitlines().index('prefect = ">=9"') + 1
    before = contents(project)
    with pytest.raises(ToolError) as caught:
        relock(project, records, Update())
    error = caught.value
    assert (error.id, error.exit_code) == ("unsatisfiable", Exit.CHECK_FAILED)
    assert "default" in error.what
    assert "linux-64" in error.what
    assert error.where == f"{project / 'pixi.toml'}:{line}"
    assert "prefect >=9" in (error.why or "")
    assert contents(project) == before


@pytest.mark.parametrize(
    ("pattern", "wrong"), [(r"sha256: \w{64}", f"sha256: {'0' * 64}"), (r"- openssl >=3.5,<4.0a0", "- openssl >=3")]
)
def test_an_edited_record_is_not_taken_over(project: Path, records: Path, pattern: str, wrong: str) -> None:
    good = contents(project)
    text, count = re.subn(pattern, wrong, (project / "pixi.lock").read_text(), count=1)
    assert count
    (project / "pixi.lock").write_text(text)
    relock(project, records, Update())
    assert contents(project) == good


def test_a_broken_lock_file_is_named_and_update_replaces_it(project: Path, records: Path) -> None:
    good = contents(project)
    (project / "pixi.lock").write_text("version: 7\nplatforms: [\n")
    with pytest.raises(ToolError) as caught:
        relock(project, records, Update())
    assert caught.value.id == "bad-file"
    assert re.fullmatch(rf"{project}/pixi\.lock:\d+", caught.value.where or "")
    relock(project, records, Update(everything=True))
    assert contents(project) == good


def test_what_nothing_generates_any_more_is_removed(project: Path, records: Path) -> None:
    edit(project / "pixi.toml", 'old = ["old"]\n', "")
    edit(project / "pixi.toml", 'old = "Nothing but native code"\n', "")
    relock(project, records, Update())
    assert not any(path.startswith("envs/old/") for path in contents(project))
    assert findings(project) == []


@pytest.mark.parametrize("content", ["{", '{"packages.conda": 3}', "[]", '{"packages": {"x": 1}}', '"\ud83d"'])
def test_broken_repodata_is_named(project: Path, records: Path, content: str) -> None:
    file = records / "linux-64" / "repodata.json"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ToolError) as caught:
        relock(project, records, Update(everything=True))
    assert caught.value.id == "bad-file"
    assert str(file) in (caught.value.where or "")


def test_a_record_that_is_none_is_refused(project: Path, tmp_path: Path) -> None:
    listed = tiny_channel.records()
    listed[0]["depends"] = "libzlib"
    with pytest.raises(ToolError) as caught:
        relock(project, write_records(tmp_path / "bad", listed), Update(everything=True))
    assert caught.value.id == "bad-file"


def test_a_folder_without_records_or_without_a_subdir_is_refused(project: Path, records: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no channel records"):
        relock(project, tmp_path, Update(everything=True))
    (records / "noarch" / "repodata.json").unlink()
    with pytest.raises(ToolError, match="no records for noarch"):
        relock(project, records, Update(everything=True))


def test_two_runs_at_once_are_refused(project: Path, records: Path) -> None:
    before = contents(project)
    with exclusive(project / ".build" / "lock.lock", what="test"), pytest.raises(ToolError) as caught:
        relock(project, records, Update(everything=True))
    assert caught.value.id == "busy"
    assert contents(project) == before


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(records: Path) -> Iterator[str]:
    """The tiny channel as a channel on a loopback port; its URL."""
    handler = partial(Quiet, directory=str(records.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{records.name}"
        finally:
            server.shutdown()
            thread.join()


def test_the_live_channel_gives_the_same_solution(
    served: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path / "cache")
    live = tiny_channel.write_project(tmp_path / "live")
    edit(live / "pixi.toml", "https://conda.anaconda.org/conda-forge", served)
    edit(live / "pixi.toml", 'native = "*"', 'native = "<3"')  # a channel's own records are complete
    relock(live, None, Update())
    assert versions(live) == versions(project)
    assert versions(live, "old") == versions(project, "old")


def test_no_channel_and_no_records_is_a_network_error(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SHARED", tmp_path / "absent")
    monkeypatch.setattr(sources, "_reachable", lambda channel: False)
    with pytest.raises(ToolError) as caught:
        relock(project, None, Update(everything=True))
    assert (caught.value.id, caught.value.exit_code) == ("network", Exit.NETWORK)
    assert "--repodata" in (caught.value.fix or "")


def test_a_host_that_answers_nothing_is_not_reachable() -> None:
    assert not sources._reachable("http://127.0.0.1:9/conda-forge")


def test_the_command_prints_a_readable_diff(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = record("openssl", "3.6.1", "h1_0", "linux-64", [tiny_channel.GLIBC], size=3_000_000)
    folder = write_records(tmp_path / "newer", [*tiny_channel.records(), newer])
    monkeypatch.setattr(command, "ROOT", project)
    call = partial(CliRunner().invoke, command.cli)
    checked = call(["--check", "--update", "--repodata", str(folder), "--json"])
    assert checked.exit_code == Exit.CHECK_FAILED
    assert versions(project)["openssl"] == "3.6.0"
    done = call(["--update", "openssl", "--repodata", str(folder), "--unrehearsed"])
    assert done.exit_code == 0, done.output
    assert "default on linux-64: 1 packages, +3.0 MB" in done.stdout
    assert "openssl 3.6.0 -> 3.6.1" in done.stdout
    assert json.loads(call(["--json", "--unrehearsed"]).stdout)["files"] == []
    assert call(["openssl"]).exit_code == Exit.USAGE


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_the_tools_requirements_are_pinned_by_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "REQUIREMENTS", tmp_path)
    (tmp_path / "tools.in").write_text("click\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        tools.compile_requirements()
    assert caught.value.id == "missing-program"
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@" > tools.txt\n')
    uv.chmod(0o755)
    assert tools.compile_requirements() == ["tools.txt"]
    assert "--generate-hashes" in (tmp_path / "tools.txt").read_text()
    assert tools.compile_requirements() == []
    uv.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    with pytest.raises(ToolError, match=r"could not pin tools\.in") as caught:
        tools.compile_requirements()
    assert caught.value.why == "no such package"


def test_the_projects_own_environments_solve_from_the_records(tmp_path: Path) -> None:
    """Every environment on every platform, from scratch; the figures of the issue are measured by scripts/bench."""
    if not sources.SHARED.is_dir():
        pytest.skip(f"there are no records in {sources.SHARED}")
    root = tmp_path / "clone"
    root.mkdir()
    (root / "pixi.toml").write_bytes((ROOT / "pixi.toml").read_bytes())
    result = relock(root, sources.SHARED, Update())
    assert len(result.plan.solved) == len(lockfile.read(root / "pixi.lock").records)
