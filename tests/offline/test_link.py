"""The linker of the target: what conda and py-rattler do with a package, in the standard library."""

from __future__ import annotations

import asyncio
import bz2
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import rattler

from install import dummies
from maintain.bundle.engine import decompress
from maintain.bundle.link import PackageError, Place, link, relocate, shebang
from support.commands import run

OLD = dummies.PLACEHOLDER


def place(folder: Path, prefix: str | None = None) -> Place:
    folder.mkdir(exist_ok=True)
    return Place(folder, prefix or str(folder), "3.11", "lib/python3.11/site-packages", windows=False)


def put(path: Path, where: Place) -> dict[str, Any]:
    with path.open("rb") as stream:
        return link(stream, path.name, where, decompress, {"name": path.name})


def bz2_package(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], described: list[dict[str, Any]]) -> Path:
    """A .tar.bz2 with these members; most malice needs no more."""
    raw = io.BytesIO()
    info = {"info/paths.json": {"paths_version": 1, "paths": described}, "info/index.json": {}}
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in info.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    path.write_bytes(bz2.compress(raw.getvalue()))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode, found.mtime = kind, target, 0o755, 1_500_000_000
    return found


def path(name: str, kind: str = "hardlink", **more: Any) -> dict[str, Any]:
    return {"_path": name, "path_type": kind, **more}


def test_old_packages_and_links(tmp_path: Path) -> None:
    content = b"#!/bin/sh\necho " + OLD.encode() + b"\n"
    package = bz2_package(
        tmp_path / "old-1.0-0.tar.bz2",
        [
            (member("bin/run"), content),
            (member("bin/again", tarfile.LNKTYPE, "bin/run"), b""),
            (member("lib/link", tarfile.SYMTYPE, "../bin/run"), b""),
        ],
        [
            path("bin/run", prefix_placeholder=OLD, file_mode="text"),
            path("bin/again", prefix_placeholder=OLD, file_mode="text"),
            path("lib/link", "softlink"),
            path("share/empty", "directory"),
        ],
    )
    record = put(package, place(tmp_path / "env"))
    assert record["files"] == ["bin/run", "bin/again", "lib/link"]
    for name in record["files"]:
        assert run([tmp_path / "env" / name]).stdout == f"{tmp_path / 'env'}\n"
    assert (tmp_path / "env/bin/run").stat().st_mtime == 1_500_000_000, "byte code names its source's time"


@pytest.mark.parametrize(
    ("members", "described", "why"),
    [
        ([(member("../evil"), b"x")], [path("../evil")], "outside"),
        ([(member("/evil"), b"x")], [path("/evil")], "outside"),
        ([(member("a/../../evil"), b"x")], [path("a/../../evil")], "outside"),
        (
            [(member("door", tarfile.SYMTYPE, ".."), b""), (member("door/evil"), b"x")],
            [path("door", "softlink"), path("door/evil")],
            "leads elsewhere",
        ),
        ([(member("pipe", tarfile.FIFOTYPE), b"")], [path("pipe")], "neither file nor link"),
        ([], [path("gone")], "not there"),
    ],
)
def test_hostile_packages(tmp_path: Path, members: Any, described: Any, why: str) -> None:
    package = bz2_package(tmp_path / "evil-1.0-0.tar.bz2", members, described)
    with pytest.raises(PackageError, match=why):
        put(package, place(tmp_path / "env"))
    assert sorted(found.name for found in tmp_path.iterdir()) == ["env", package.name]


@pytest.mark.parametrize("broken", ["cut", "no zip", "no paths"])
def test_broken_packages(tmp_path: Path, broken: str) -> None:
    package = dummies.package(tmp_path, "data", files={"share/data": b"data" * 999})
    raw = package.read_bytes()
    package.write_bytes(raw[:-40] if broken == "cut" else b"no zip" if broken == "no zip" else raw)
    if broken == "no paths":
        package = bz2_package(tmp_path / "none-1.0-0.tar.bz2", [], [])
        package.write_bytes(bz2.compress(bytes(10240)))
    with pytest.raises(PackageError):
        put(package, place(tmp_path / "env"))


def test_the_later_file_stays(tmp_path: Path) -> None:
    where = place(tmp_path / "env")
    for text in (b"one", b"two"):
        put(dummies.package(tmp_path, text.decode(), files={"share/same": text}), where)
    assert (tmp_path / "env/share/same").read_bytes() == b"two"


@pytest.mark.parametrize("prefix", ["/e", "/opt/" + "x" * 100, "/" + "y" * (len(OLD) - 1)])
def test_binary_prefixes(tmp_path: Path, prefix: str) -> None:
    data = b"\x7fELF" + OLD.encode() + b"/lib:" + OLD.encode() + b"/etc\0tail" + OLD.encode() + b"\0end"
    found = relocate(data, OLD, place(tmp_path / "env", prefix), binary=True)
    assert len(found) == len(data) and OLD.encode() not in found
    p = prefix.encode()
    assert found.startswith(b"\x7fELF" + p + b"/lib:" + p + b"/etc\0") and found.endswith(b"\0end")
    assert found.index(b"tail" + p + b"\0") == data.index(b"tail"), "what follows stays where it was"


def test_a_prefix_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="longer"):
        relocate(OLD.encode() + b"\0", OLD, place(tmp_path / "env", OLD + "x"), binary=True)


@pytest.mark.parametrize("folder", ["short", "with blanks in it", "l" * 140, "it's"])
def test_first_lines_that_work(tmp_path: Path, folder: str) -> None:
    """Of Python scripts: the kernel reads neither long first lines nor blanks in them."""
    where = tmp_path / folder
    where.mkdir()
    python = where / "python3.11"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    script = where / "script"
    script.write_bytes(shebang(f"#!{python} -E\nprint('body')\n".encode()))
    script.chmod(0o755)
    assert run([script, "a b", "c"]).stdout == f"-E {script} a b c\n"
    compile(script.read_bytes(), "script", "exec")
    assert shebang(b"#!/bin/sh\n") == b"#!/bin/sh\n"
    other = shebang(f"#!{where}/bin/perl -w\n1;\n".encode())
    assert other.startswith(b"#!/usr/bin/env perl\n" if len(folder) > 100 or " " in folder else b"#!" + bytes(where))


def test_as_py_rattler_links(tmp_path: Path) -> None:
    """The same files with the same bytes and records, but for the way an entry point is written."""
    channel = dummies.stand_in(tmp_path / "channel")
    dummies.package(channel, "python", "3.11.0", files={"bin/python3.11": b"#!/bin/sh\n"}, subdir=dummies.HERE)
    dummies.package(
        channel, "app", files={"site-packages/app.py": b"x = 1\n", "python-scripts/go": b"#!/bin/sh\n"},
        noarch="python", entry_points=["hello = app:main.run"], depends=["python"],
    )  # fmt: skip
    dummies.index(channel)
    ours, theirs = place(tmp_path / "ours", str(tmp_path / "theirs")), tmp_path / "theirs"
    records = [put(path, ours) for path in sorted(channel.rglob("*.conda"))]
    solved = asyncio.run(
        rattler.solve(
            [rattler.Channel(channel.as_uri())],
            ["app", "prefect-env"],
            platforms=[rattler.Subdir(dummies.HERE), "noarch"],
        )
    )
    asyncio.run(rattler.install(solved, theirs, cache_dir=tmp_path / "cache", execute_link_scripts=False))
    linked = sorted(name for record in records for name in record["files"])
    for name in linked:
        if name != "bin/hello":
            assert (ours.folder / name).read_bytes() == (theirs / name).read_bytes(), name
        assert (ours.folder / name).stat().st_mode & 0o111 == (theirs / name).stat().st_mode & 0o111, name
    found = [json.loads(path.read_bytes()) for path in (theirs / "conda-meta").glob("*.json")]
    assert linked == sorted(name for record in found for name in record["files"] if not name.endswith(".pyc"))
    wanted = {p["_path"]: p for record in found for p in record["paths_data"]["paths"]}
    for record in records:
        for entry in record["paths_data"]["paths"]:
            other = wanted[entry["_path"]]
            for key in ("path_type", "file_mode", "prefix_placeholder", "sha256", "sha256_in_prefix"):
                if entry["_path"] != "bin/hello" or key == "path_type":
                    assert entry.get(key) == other.get(key), (entry, other)
