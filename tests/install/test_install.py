"""What an install leaves: the planned packages, relocated, recorded as conda records them; and nothing twice."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from install import dummies
from install.conftest import Command, Server, command, environ
from maintain.install.choice import Choice
from maintain.install.engine import Result, install
from maintain.lib.errors import ToolError
from support.commands import run


@pytest.fixture
def choice(channel: Path) -> Choice:
    return Choice(channel.as_uri(), True, "the test says so")


def put(choice: Choice, prefix: Path) -> Result:
    return install(prefix, choice, line="3")


def record(prefix: Path, stem: str) -> dict[str, object]:
    content = json.loads((prefix / "conda-meta" / f"{stem}.json").read_text())
    assert isinstance(content, dict)
    return content


def tree(prefix: Path) -> dict[str, bytes | str]:
    """Every file below ``prefix`` with its content, and links with their targets."""
    return {
        str(path.relative_to(prefix)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(prefix.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_fresh_install_is_whole_and_relocated(choice: Choice, prefix: Path) -> None:
    result = put(choice, prefix)
    assert result.changed and result.packages == 3
    assert result.added == ("data-1.0-0", f"prefect-env-{dummies.line()}-0", "tool-1.0-0")
    assert (prefix / "bin/tool").read_text() == f"#!/bin/sh\necho {prefix}\n"
    assert stat.S_IMODE((prefix / "bin/tool").stat().st_mode) & 0o111
    binary = (prefix / "lib/tool.bin").read_bytes()
    assert os.fsencode(prefix) + b"/lib\0" in binary and dummies.PLACEHOLDER.encode() not in binary
    assert [path.name for path in prefix.parent.iterdir()] == [prefix.name], "something was left beside the prefix"


def test_no_trace_of_the_folder_it_was_made_in(choice: Choice, prefix: Path) -> None:
    put(choice, prefix)
    for path, content in tree(prefix).items():
        assert b".prefect-env.new" not in (content if isinstance(content, bytes) else content.encode()), path


def test_records_are_what_conda_reads(choice: Choice, prefix: Path, channel: Path) -> None:
    put(choice, prefix)
    data = record(prefix, "data-1.0-0")
    assert data["url"] == (channel / "noarch/data-1.0-0.conda").as_uri()
    assert str(data["channel"]).rstrip("/") == channel.as_uri()
    assert data["fn"] == "data-1.0-0.conda" and data["files"] == ["share/data.txt", "share/old.txt"]
    assert Path(str(data["extracted_package_dir"])).is_dir(), "conda-pack looks there"
    assert data["requested_specs"] == [] and "requested_spec" not in data
    meta = record(prefix, f"prefect-env-{dummies.line()}-0")
    assert meta["requested_spec"] == f"prefect-env =={dummies.line()}" == meta["requested_specs"][0]  # type: ignore[index]


def test_history_is_condas(choice: Choice, prefix: Path, channel: Path) -> None:
    put(choice, prefix)
    dummies.update(channel)
    put(choice, prefix)
    first, second = re.split(
        r"^==> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d <==\n", (prefix / "conda-meta/history").read_text(), flags=re.M
    )[1:]
    assert f"+{channel.as_uri()}/noarch::data-1.0-0\n" in first and first.startswith("# cmd: ")
    assert f'# update specs: ["prefect-env =={dummies.line()}"]\n' in first
    changes = [line for line in second.splitlines() if line[0] in "+-"]
    assert changes == [f"-{channel.as_uri()}/noarch::data-1.0-0", f"+{channel.as_uri()}/noarch::data-2.0-0"]


def test_the_same_again_touches_nothing(choice: Choice, prefix: Path) -> None:
    put(choice, prefix)
    before = prefix.stat().st_ino, tree(prefix)
    assert not put(choice, prefix).changed
    assert (prefix.stat().st_ino, tree(prefix)) == before


def test_an_update_changes_what_changed_and_keeps_the_users_files(choice: Choice, prefix: Path, channel: Path) -> None:
    put(choice, prefix)
    (prefix / "etc").mkdir()
    (prefix / "etc/mine.conf").write_text("mine")
    (prefix / "link").symlink_to("etc/mine.conf")
    untouched = (prefix / "bin/tool").stat().st_ino
    dummies.update(channel)
    result = put(choice, prefix)
    assert (result.added, result.removed) == (("data-2.0-0",), ("data-1.0-0",))
    assert (prefix / "share/data.txt").read_text().startswith("two") and (prefix / "share/new.txt").exists()
    assert not (prefix / "share/old.txt").exists() and not (prefix / "conda-meta/data-1.0-0.json").exists()
    assert (prefix / "link").read_text() == "mine" and (prefix / "link").is_symlink()
    assert (prefix / "bin/tool").stat().st_ino == untouched
    assert [path.name for path in prefix.parent.iterdir()] == [prefix.name]


def test_a_lost_file_is_put_back(choice: Choice, prefix: Path) -> None:
    put(choice, prefix)
    (prefix / "share/data.txt").unlink()
    result = put(choice, prefix)
    assert result.changed and not result.added
    assert (prefix / "share/data.txt").read_text().startswith("one")


def test_a_file_edited_in_the_prefix_does_not_reach_the_next_one(choice: Choice, prefix: Path) -> None:
    """Prefixes share files with the cache by hard links, so an edit in place is an edit of the cache."""
    put(choice, prefix)
    with (prefix / "share/data.txt").open("r+") as stream:
        stream.write("EDIT")
    other = prefix.with_name("other")
    put(choice, other)
    assert (other / "share/data.txt").read_text().startswith("one")


def test_dry_run_does_nothing(install_command: Command, prefix: Path) -> None:
    done = install_command("--dry-run")
    assert done.stdout.splitlines() == ["+ data-1.0-0", f"+ prefect-env-{dummies.line()}-0", "+ tool-1.0-0"]
    assert not prefix.exists() and not list(prefix.parent.iterdir())


def test_json_is_the_only_output_on_stdout(install_command: Command, prefix: Path) -> None:
    done = install_command("--json")
    found = json.loads(done.stdout)
    assert found["prefix"] == str(prefix) and found["changed"] and found["how"] == "solve"
    assert "stand-in, for trial only" in done.stderr


def test_quiet_says_the_result_only(install_command: Command, prefix: Path) -> None:
    done = install_command("--quiet")
    assert done.stdout == f"{prefix} holds 3 packages\n" and not done.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--line", "9"), "there is no line 9"),
        (("--env", "tools"), "exclude each other"),
        (("--channel", "/no/such/folder"), "there is no such channel"),
    ],
)
def test_wrong_usage(install_command: Command, prefix: Path, arguments: tuple[str, ...], what: str) -> None:
    done = install_command(*arguments, code=2)
    assert what in done.stderr and "[bad-usage]" in done.stderr
    assert not prefix.exists()


def test_unsatisfiable_names_what_is_missing(choice: Choice, prefix: Path, channel: Path) -> None:
    (channel / "noarch/data-1.0-0.conda").unlink()
    dummies.index(channel)
    with pytest.raises(ToolError) as caught:
        put(choice, prefix)
    assert caught.value.id == "unsatisfiable" and "data" in str(caught.value.why)
    assert not prefix.exists()


def test_a_package_without_a_hash_is_refused(choice: Choice, prefix: Path, channel: Path) -> None:
    path = channel / "noarch/repodata.json"
    content = json.loads(path.read_text())
    del content["packages.conda"]["data-1.0-0.conda"]["sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(ToolError) as caught:
        put(choice, prefix)
    assert caught.value.id == "no-hash" and not prefix.exists()


def test_a_channel_that_ships_its_secrets_keeps_them(prefix: Path, server: Server) -> None:
    url = server.url.replace("http://", "http://user:secret@")
    put(Choice(url, True, "the test says so"), prefix)
    for path, content in tree(prefix).items():
        assert b"secret" not in (content if isinstance(content, bytes) else content.encode()), path


def test_default_prefix_is_the_users(install_command: Command, channel: Path, tmp_path: Path) -> None:
    line = [part for part in command(channel, tmp_path / "x") if part not in ("--prefix", tmp_path / "x")]
    run(line, env=environ(XDG_DATA_HOME=str(tmp_path / "data")))
    assert (tmp_path / "data/prefect-env/3/bin/tool").exists()
