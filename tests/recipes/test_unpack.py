"""The build script that unpacks a wheel: what it writes, and what stops it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from maintain.lib.paths import RECIPES
from support.commands import Done, run

INFO = "demo-1.0.dist-info"


def digest(data: bytes) -> str:
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def wheel(folder: Path, files: dict[str, bytes], *, record: bytes | None = None) -> None:
    files = {f"{INFO}/METADATA": b"Name: demo\nVersion: 1.0\n", f"{INFO}/licenses/LICENSE": b"free\n", **files}
    rows = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data in files.items()) + f"{INFO}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "demo-1.0-py3-none-any.whl", "w") as archive:
        for name, data in {**files, f"{INFO}/RECORD": record or rows.encode()}.items():
            archive.writestr(name, data)


def unpack(folder: Path, *arguments: str, code: int = 0) -> Done:
    env = {**os.environ, "SP_DIR": str(folder / "site")}
    return run([sys.executable, RECIPES / "unpack_wheel.py", *arguments], env=env, cwd=folder, code=code)


def edits(folder: Path, **edit: str) -> str:
    (folder / "edits.json").write_text(json.dumps([edit]))
    return str(folder / "edits.json")


def test_files_record_and_licence(tmp_path: Path) -> None:
    wheel(tmp_path, {"demo/a.py": b"old = 1\n"})
    unpack(tmp_path, "--edits", edits(tmp_path, path="demo/a.py", old="old", new="new"))
    site = tmp_path / "site"
    assert (site / "demo" / "a.py").read_bytes() == b"new = 1\n"
    assert (site / INFO / "INSTALLER").read_bytes() == b"conda\n"
    assert (tmp_path / "LICENSE").read_bytes() == b"free\n"
    rows = {
        name: (hashed, size) for name, hashed, size in csv.reader((site / INFO / "RECORD").read_text().splitlines())
    }
    there = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert set(rows) == there
    for name, (hashed, size) in rows.items():
        if not name.endswith("RECORD"):
            data = (site / name).read_bytes()
            assert (hashed, size) == (digest(data), str(len(data)))


@pytest.mark.parametrize("content", [b"nothing", b"old and old"])
def test_an_edit_must_hit_exactly_once(tmp_path: Path, content: bytes) -> None:
    wheel(tmp_path, {"demo/a.py": content})
    done = unpack(tmp_path, "--edits", edits(tmp_path, path="demo/a.py", old="old", new="new"), code=1)
    assert "not once" in done.stderr
    assert not (tmp_path / "site").exists()


def test_an_edit_of_a_file_that_is_not_there_stops_the_build(tmp_path: Path) -> None:
    wheel(tmp_path, {})
    assert (
        "0 times" in unpack(tmp_path, "--edits", edits(tmp_path, path="gone.py", old="old", new="new"), code=1).stderr
    )


def test_a_file_that_record_does_not_know_stops_the_build(tmp_path: Path) -> None:
    wheel(tmp_path, {"demo/a.py": b"1\n"}, record=f"{INFO}/METADATA,sha256=x,1\n".encode())
    assert "not as RECORD says" in unpack(tmp_path, code=1).stderr


def test_files_outside_site_packages_stop_the_build(tmp_path: Path) -> None:
    wheel(tmp_path, {"demo-1.0.data/scripts/demo": b"#!python\n"})
    assert "outside site-packages" in unpack(tmp_path, code=1).stderr


@pytest.mark.parametrize("count", [0, 2])
def test_there_must_be_one_wheel(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"{number}.whl").touch()
    assert "expected one wheel" in unpack(tmp_path, code=1).stderr
