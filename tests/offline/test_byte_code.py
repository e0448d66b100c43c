"""Byte code in a bundle: what the target would have compiled, whoever packs and in whatever order."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
import zstandard

from install import dummies
from maintain.bundle import compile as compiling
from maintain.bundle import parallel, pyc
from maintain.bundle.__main__ import _python
from maintain.bundle.engine import decompress as plain
from maintain.bundle.layout import Bundle
from maintain.bundle.link import PackageError, Place, link
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file
from maintain.lib.paths import LOCK
from maintain.lock import lockfile
from maintain.mirror.selection import select
from offline.conftest import files, host_python, install, pack
from support.commands import run

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = f"lib/python{MINOR}"
SITE = f"{LIBRARY}/site-packages"
SAME = """
import marshal, sys
one, two = (open(path, "rb").read() for path in sys.argv[1:])
assert one[:16] == two[:16], "another magic number, time or size"
assert marshal.loads(one[16:]) == marshal.loads(two[16:])
"""


def test_as_the_target_compiles(made: Path, bundle: Path, installer: Path, tmp_path: Path) -> None:
    found = [name for name in Bundle(bundle).members if name.startswith("byte-code/")]
    assert found == ["byte-code/app-1.0-0.zst", "byte-code/python-3.11.0-0.zst"]
    bare = pack(made / "channel", tmp_path / "out", "--no-byte-code")
    assert not [name for name in Bundle(bare).members if name.startswith("byte-code/")]
    prefix, other = tmp_path / "brought", tmp_path / "compiled"
    install(installer, "--prefix", prefix, "--no-doctor")
    install(bare, "--prefix", other, "--no-doctor")
    compiled = sorted(str(path.relative_to(other)) for path in other.rglob("*.pyc"))
    assert compiled == sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*.pyc")) and len(compiled) == 2
    for name in compiled:
        run([host_python(), "-I", "-c", SAME, prefix / name, other / name])
    records = [json.loads(path.read_bytes()) for path in sorted((prefix / "conda-meta").glob("*.json"))]
    listed = [p["_path"] for record in records for p in record["paths_data"]["paths"] if p["path_type"] == "pyc_file"]
    assert sorted(listed) == compiled, "as conda has it"
    install(installer, "--prefix", tmp_path / "none", "--no-doctor", "--no-compile")
    assert not list((tmp_path / "none").rglob("*.pyc"))


def decompress(stream: BinaryIO, prefix: bytes = b"") -> BinaryIO:
    known = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    return zstandard.ZstdDecompressor(dict_data=known).stream_reader(stream)


def described(package: Path) -> dict[str, Any]:
    name, version, build = package.name.removesuffix(".conda").rsplit("-", 2)
    return {"name": name, "version": version, "build": build, "sha256": sha256_file(package)}


def members(place: Place, *packages: Path) -> dict[str, bytes]:
    return compiling.compiled(Path(sys.executable), place, {path: described(path) for path in packages}, "3")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own: what is tested is how it is filled."""
    monkeypatch.setattr(compiling, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache/byte-code"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Modules that compile, are empty, do not compile, hold the prefix, and one with byte code of its own."""
    contents = {"good.py": b"x = 'name'\n" * 99, "empty.py": b"", "bad.py": b"x =\n", "own.py": b"y = 2\n"}
    contents |= {"prefix.py": b"home = '" + dummies.PLACEHOLDER.encode() + b"'\n"}
    contents |= {f"__pycache__/own.cpython-{MINOR.replace('.', '')}.pyc": b"its own"}
    return dummies.package(
        tmp_path, "app", files={f"site-packages/{name}": data for name, data in contents.items()}, noarch="python"
    )


def put(package: Path, data: bytes, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    modules: dict[str, bytes] = {}
    where = Place(folder, "/the/prefix", MINOR, SITE)
    with package.open("rb") as stream:
        record = link(stream, package.name, where, plain, described(package), modules)
    pyc.place(io.BytesIO(data), folder, record, f"{MINOR}.1", modules, decompress)
    return record


def test_which_modules(tmp_path: Path, package: Path) -> None:
    place = Place(tmp_path, "", MINOR, SITE)
    (data,) = members(place, package).values()
    put(package, data, tmp_path / "env")
    cached = tmp_path / "env" / SITE / "__pycache__"
    tag = sys.implementation.cache_tag
    assert sorted(path.name for path in cached.iterdir()) == [f"{name}.{tag}.pyc" for name in ("empty", "good", "own")]
    assert (cached / f"own.{tag}.pyc").read_bytes() == b"its own"
    code = "import good, empty, sys; assert good.x == 'name'; print(good.__cached__, compile.__name__)"
    env = {"PYTHONPATH": str(tmp_path / "env" / SITE), "PYTHONDONTWRITEBYTECODE": "1"}
    assert run([sys.executable, "-v", "-c", code], env=env).stderr.count("matches") >= 2, "Python takes it as its own"
    (tmp_path / "env" / SITE / "good.py").write_text("x = 'edited'\n")
    run([sys.executable, "-c", "import good; assert good.x == 'edited'"], env=env)


def test_the_same_bytes_in_any_company(tmp_path: Path, package: Path, cache: Path) -> None:
    other = dummies.package(tmp_path, "zzz", files={"site-packages/z.py": b"x = 'name'\n"}, noarch="python")
    data = dummies.package(tmp_path, "data", files={"share/data.txt": b"no module"})
    place = Place(tmp_path, "", MINOR, SITE)
    first = members(place, package, other, data)
    assert list(first) == ["byte-code/app-1.0-0.zst", "byte-code/zzz-1.0-0.zst"]
    before = files(cache)
    assert members(place, package, other, data) == first and files(cache) == before
    for path in cache.iterdir():
        path.write_bytes(b"damaged" * 9)
    assert members(place, other, package) == dict(reversed(first.items()))


def test_for_windows(tmp_path: Path, package: Path) -> None:
    place = Place(tmp_path, "", MINOR, "Lib/site-packages", windows=True)
    (data,) = members(place, package).values()
    length = int.from_bytes(data[:4], "little")
    index = json.loads(zstandard.decompress(data[4 : 4 + length]))
    assert sorted(index) == ["Lib/site-packages/empty.py", "Lib/site-packages/good.py"]


def test_any_platform_is_compiled_for_on_any() -> None:
    """Where two platforms of the committed lock have the same Python, each can make the other's byte code."""
    chosen = select(lockfile.read(LOCK), ("default",), ())
    pythons = {
        place: next(str(package.record.version) for package in packages if package.name == "python")
        for place, packages in chosen.items()
    }
    for one, mine in chosen.items():
        for other, others in chosen.items():
            found = {package.name for package in _python(mine, others)}
            assert ("python" in found) == (pythons[one] == pythons[other])
    assert len(set(pythons.values())) < len(pythons), "the lock has one Python for most platforms"
    newer = SimpleNamespace(name="python", record=SimpleNamespace(version="4.0.0"))
    assert _python(next(iter(chosen.values())), [newer]) == ()  # type: ignore[list-item]


def test_byte_code_of_another_package(tmp_path: Path, package: Path) -> None:
    other = dummies.package(tmp_path, "zzz", files={"site-packages/z.py": b"x = 1\n"}, noarch="python")
    (data,) = members(Place(tmp_path, "", MINOR, SITE), other).values()
    with pytest.raises(PackageError, match="no module"):
        put(package, data, tmp_path / "env")


def work(item: str) -> str:
    if item == "raise":
        raise ToolError("disk-full", "the disk is full", where="there")
    if item == "die":
        os._exit(9)
    return f"{item} in {os.getpid()}"


def test_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    done = parallel.each(work, ["a", "b", "c"])
    assert sorted(text[0] for text in done) == ["a", "b", "c"] and len({text[4:] for text in done}) == 2
    with pytest.raises(ToolError) as caught:
        parallel.each(work, ["a", "raise"])
    assert (caught.value.id, caught.value.where) == ("disk-full", "there")
    with pytest.raises(ToolError, match="was killed"):
        parallel.each(work, ["die", "b"])
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert parallel.each(work, ["a", "b"])[0] == f"a in {os.getpid()}"
