"""Byte code: recorded, reused by the next install, never stale, and absent where it is not wanted."""

from __future__ import annotations

import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import rattler

from install import dummies
from maintain.install import bytecode, conda_meta
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib.errors import ToolError

PYTHON = platform.python_version()
TAG = sys.implementation.cache_tag
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
STARTS = "starts"


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """A stand-in whose ``python`` is the tests' own, which notes its starts, and with a noarch Python package."""
    channel = dummies.stand_in(tmp_path / "channel")
    script = f'#!/bin/sh\necho >> "{tmp_path / STARTS}"\nexec "{sys.executable}" "$@"\n'
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    dummies.package(
        channel,
        "python",
        PYTHON,
        subdir=dummies.HERE,
        files={
            "bin/python": script.encode(),
            f"{library}/placed.py": f'PREFIX = "{dummies.PLACEHOLDER}"\n'.encode(),
            f"{library}/broken.py": b"this is {{ a template }}\n",
        },
    )
    return publish(channel, "1.0", b"VALUE = 1\n")


def publish(channel: Path, version: str, source: bytes) -> Path:
    dummies.package(
        channel, "module", version, noarch="python", files={"site-packages/module.py": source}, depends=["python"]
    )
    dummies.package(channel, "data", "9.0", files={"share/data.txt": b"9"}, depends=["module", "tool"])
    return dummies.index(channel)


def pycs(prefix: Path) -> set[str]:
    return {str(path.relative_to(prefix)) for path in prefix.rglob("*.pyc")}


def recorded(prefix: Path, name: str) -> list[str]:
    record = conda_meta.load(prefix)[name]
    of_paths = [path["_path"] for path in record["paths_data"]["paths"] if path["path_type"] == "pyc_file"]
    assert of_paths == [file for file in record["files"] if file.endswith(".pyc")]
    return of_paths


def value(prefix: Path) -> str:
    """What the prefix's module says when its source can only be trusted by time and size, as Python does."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import module; print(module.VALUE, module.__cached__)"
    command = [sys.executable, "-I", "-B", "-c", code, str(prefix / SITE)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_byte_code_is_recorded_as_conda_does(channel: Path, prefix: Path) -> None:
    install(prefix, choose(str(channel)), line="3")
    assert recorded(prefix, "module") == [f"{SITE}/__pycache__/module.{TAG}.pyc"]
    assert [Path(path).name for path in recorded(prefix, "python")] == [f"placed.{TAG}.pyc"], "a template is left alone"
    assert pycs(prefix) == {*recorded(prefix, "module"), *recorded(prefix, "python")}
    assert f"{prefix / SITE}/__pycache__" in value(prefix)


def test_python_takes_it_and_a_traceback_names_the_prefix(channel: Path, prefix: Path) -> None:
    publish(channel, "1.0", b"VALUE = 1\ndef fail():\n    raise KeyError\n")
    install(prefix, choose(str(channel)), line="3")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import module; module.fail()"
    command = [sys.executable, "-I", "-B", "-v", "-c", code, str(prefix / SITE)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert f"matches {prefix / SITE}/module.py" in said and f'File "{prefix / SITE}/module.py", line 3' in said


def test_the_next_install_compiles_only_what_belongs_to_its_prefix(
    channel: Path, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(prefix, choose(str(channel)), line="3")
    sources: list[str] = []
    compile_ = bytecode._compile

    def noted(folder: Path, target: Path, found: Sequence[str], *more: Any) -> None:
        sources.extend(found)
        compile_(folder, target, found, *more)

    monkeypatch.setattr(bytecode, "_compile", noted)
    other = tmp_path / "other"
    install(other, choose(str(channel)), line="3")
    assert [Path(source).name for source in sources] == ["placed.py"], "its prefix is written into it"
    assert pycs(other) == pycs(prefix) and str(other).encode() in (other / recorded(other, "python")[0]).read_bytes()
    pyc = recorded(other, "module")[0]
    assert (other / pyc).stat().st_ino == (prefix / pyc).stat().st_ino, "linked, not copied"


def test_a_copied_source_gets_byte_code_of_its_own_time(
    channel: Path, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across file systems sources are copied, and may get another time than the byte code in the cache names."""
    install(prefix, choose(str(channel)), line="3")
    for index in (tmp_path / "cache/pyc").rglob("index.json"):
        content = json.loads(index.read_text())
        index.write_text(json.dumps({name: entry and {**entry, "mtime": 1} for name, entry in content.items()}))
    other = tmp_path / "other"
    install(other, choose(str(channel)), line="3")
    pyc = other / recorded(other, "module")[0]
    time = int((other / SITE / "module.py").stat().st_mtime)
    assert pyc.read_bytes()[8:12] == time.to_bytes(4, "little") and value(other).startswith("1 ")


def test_damaged_byte_code_in_the_cache_is_not_used(channel: Path, prefix: Path, tmp_path: Path) -> None:
    install(prefix, choose(str(channel)), line="3")
    for stored in (tmp_path / "cache/pyc").rglob("*"):
        if stored.is_file() and stored.suffix != ".json":
            stored.unlink()
            stored.write_bytes(b"short")
    other = tmp_path / "other"
    install(other, choose(str(channel)), line="3")
    assert value(other).startswith("1 ")


@pytest.mark.parametrize("compiled", [True, False])
def test_an_update_leaves_no_stale_byte_code(channel: Path, prefix: Path, compiled: bool) -> None:
    """Same size, same time: only the absence of the old byte code makes Python look at the new source."""
    install(prefix, choose(str(channel)), line="3", compile_bytecode=compiled)
    if not compiled:  # Python's own, which no record knows
        subprocess.run([sys.executable, "-m", "py_compile", prefix / SITE / "module.py"], check=True)
    publish(channel, "2.0", b"VALUE = 2\n")
    install(prefix, choose(str(channel)), line="3", compile_bytecode=compiled)
    assert value(prefix).startswith("2 ")
    assert f"{SITE}/__pycache__/module.{TAG}.pyc" in pycs(prefix) or not compiled


def test_without_byte_code_until_it_is_asked_for(channel: Path, prefix: Path, tmp_path: Path) -> None:
    install(prefix, choose(str(channel)), line="3", compile_bytecode=False)
    assert not pycs(prefix) and not (tmp_path / STARTS).exists()
    assert install(prefix, choose(str(channel)), line="3").changed
    assert recorded(prefix, "module")
    assert not install(prefix, choose(str(channel)), line="3", compile_bytecode=False).changed, "more is no less"


@pytest.mark.parametrize(
    ("said", "id_"),
    [
        ("version GLIBC_2.99 not found", "unsupported-host"),
        ("OSError: [Errno 28] No space left on device: 'x.pyc'", "disk-full"),
    ],
)
def test_a_python_that_fails(channel: Path, prefix: Path, said: str, id_: str) -> None:
    script = f'#!/bin/sh\necho "{said}" >&2\nexit 1\n'.encode()
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/placed.py"
    dummies.package(channel, "python", PYTHON, subdir=dummies.HERE, files={"bin/python": script, library: b"A = 1\n"})
    dummies.index(channel)
    with pytest.raises(ToolError) as caught:
        install(prefix, choose(str(channel)), line="3")
    assert caught.value.id == id_ and (caught.value.why == said or id_ == "disk-full")
    assert not prefix.exists()


def test_pixi_and_rattler_read_the_records_and_remove_byte_code_too(
    channel: Path, prefix: Path, tmp_path: Path
) -> None:
    """The same library as pixi's takes the prefix over: without ``module``, nothing of it may stay behind."""
    install(prefix, choose(str(channel)), line="3")
    records = [rattler.PrefixRecord.from_path(path) for path in (prefix / "conda-meta").glob("*.json")]
    kept: list[rattler.RepoDataRecord] = [
        record for record in records if record.name.normalized not in ("module", "data", "prefect-env")
    ]
    assert len(records) - len(kept) == 3
    asyncio.run(rattler.install(kept, prefix, cache_dir=tmp_path / "others", show_progress=False))
    assert not (prefix / SITE / "module.py").exists() and not (prefix / SITE / "__pycache__").exists()
    assert [Path(path).name for path in pycs(prefix)] == [f"placed.{TAG}.pyc"], "what stays keeps its byte code"
