"""The .conda writer, the wheel converter and the index: what they write, and that they write it the same each time."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conda_package_streaming.package_streaming import stream_conda_component

from maintain.channel import wheels
from maintain.channel.convert import convert
from maintain.channel.elf import with_prefix_strings
from maintain.channel.index import index, record
from maintain.channel.package import PLACEHOLDER, Entry, Package
from maintain.channel.release import BOOKWORM, TRIXIE, Release
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file


def package(**changes: Any) -> Package:
    files = [
        Entry("bin/tool", f"#!{PLACEHOLDER}/bin/sh\n".encode(), executable=True, prefix="text"),
        Entry("bin/alias", link="tool"),
        Entry("share/a", b"a"),
    ]
    return Package(
        **{"name": "tool", "version": "1.0", "build": "standin_0", "subdir": "linux-64", "files": files, **changes}
    )


def wheel(
    folder: Path, name: str, tag: str, files: dict[str, str], metadata: str = "", version: str = "1.0"
) -> wheels.Wheel:
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    content = {
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        f"{info}/RECORD": "",
        **files,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)
    return wheels.Wheel(path, wheels.Pin(name, version, (sha256_file(path),)))


def no_extras(project: str) -> list[str]:
    raise AssertionError(f"nothing asks for an extra of {project}")


def contents(path: Path, component: str) -> dict[str, tuple[bytes, int, str]]:
    """path -> (data, mode, link) of one part of a .conda file, as conda's own library reads it."""
    found = {}
    with path.open("rb") as stream:
        for archive, member in stream_conda_component(path.name, stream, component=component):
            data = archive.extractfile(member) if member.isfile() else None
            found[member.name] = (data.read() if data else b"", member.mode, member.linkname)
    return found


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = package().write(tmp_path / "a")
    reordered = package(files=list(reversed(package().files)))
    assert reordered.write(tmp_path / "b").read_bytes() == first.read_bytes()
    other = package(files=[*package().files, Entry("share/b", b"b")])
    assert other.write(tmp_path / "b").read_bytes() != first.read_bytes()


def test_a_package_says_what_it_holds(tmp_path: Path) -> None:
    path = package(info={"licenses/COPYING": b"free"}).write(tmp_path)
    files, info = contents(path, "pkg"), contents(path, "info")
    assert files["bin/tool"][1] == 0o755
    assert files["share/a"][:2] == (b"a", 0o644)
    assert files["bin/alias"][2] == "tool"
    assert info["info/licenses/COPYING"][0] == b"free"
    paths = {entry["_path"]: entry for entry in json.loads(info["info/paths.json"][0])["paths"]}
    assert (paths["bin/tool"]["file_mode"], paths["bin/tool"]["prefix_placeholder"]) == ("text", PLACEHOLDER)
    assert paths["bin/alias"]["path_type"] == "softlink"
    assert len(PLACEHOLDER) == 255


def test_index_lists_hashes_and_is_reproducible(tmp_path: Path) -> None:
    (tmp_path / "linux-64").mkdir()
    path = package(depends=["b", "a"]).write(tmp_path / "linux-64")
    records = index(tmp_path)
    found = records["linux-64/tool-1.0-standin_0.conda"]
    assert (found["sha256"], found["size"], found["depends"]) == (sha256_file(path), path.stat().st_size, ["a", "b"])
    before = (tmp_path / "linux-64" / "repodata.json").read_bytes()
    index(tmp_path)
    assert (tmp_path / "linux-64" / "repodata.json").read_bytes() == before


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_a_truncated_package_is_named(tmp_path: Path, keep: float) -> None:
    path = package().write(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else len(data) * keep)])
    with pytest.raises(ToolError) as caught:
        record(path)
    assert (caught.value.id, caught.value.where) == ("bad-file", str(path))


def test_a_pure_wheel_becomes_noarch(tmp_path: Path) -> None:
    source = wheel(
        tmp_path,
        "demo",
        "py3-none-any",
        {
            "demo/__init__.py": "",
            "demo-1.0.data/scripts/demo-tool": "#!python\nprint()\n",
            "demo-1.0.data/purelib/extra.py": "",
            "demo-1.0.data/data/share/demo.txt": "x",
            "demo-1.0.dist-info/licenses/LICENSE": "MIT text",
            "demo-1.0.dist-info/entry_points.txt": "[console_scripts]\nDemo = demo.cli:main [x]\n",
        },
        "Requires-Python: >=3.9\nLicense-Expression: MIT\nRequires-Dist: redis>=5\n",
    )
    made = convert(source, no_extras, BOOKWORM)
    assert (made.subdir, made.build, made.license) == ("noarch", "py_standin_0", "MIT")
    assert sorted(made.depends) == ["python >=3.9", "redis-py >=5"]
    assert json.loads(made.info["link.json"])["noarch"] == {"type": "python", "entry_points": ["Demo = demo.cli:main"]}
    assert made.info["licenses/LICENSE"] == b"MIT text"
    files = {entry.path: entry for entry in made.files}
    assert files["python-scripts/demo-tool"].data.startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert {"site-packages/demo/__init__.py", "site-packages/extra.py", "share/demo.txt"} <= set(files)
    assert files["site-packages/demo-1.0.dist-info/INSTALLER"].data == b"conda\n"
    listed = files["site-packages/demo-1.0.dist-info/RECORD"].data.decode().splitlines()
    assert {line.split(",")[0] for line in listed} == {
        path.removeprefix("site-packages/") for path in files if path.startswith("site-packages/")
    }


@pytest.mark.parametrize(("release", "upper"), [(BOOKWORM, "3.12"), (TRIXIE, "3.14")], ids=str)
def test_a_compiled_wheel_is_bound_to_its_python(tmp_path: Path, release: Release, upper: str) -> None:
    python, tag = release.python, release.tag
    files = {
        "fast.so": "\0libstdc++.so.6\0",
        "fast-1.0.dist-info/entry_points.txt": "[console_scripts]\nfast = fast:Cli.run\n",
    }
    made = convert(wheel(tmp_path, "fast", f"{tag}-{tag}-manylinux_2_17_x86_64", files), no_extras, release)
    assert (made.subdir, made.build) == ("linux-64", f"py{tag[2:]}_standin_0")
    assert sorted(made.depends) == ["libstdcxx", f"python >={python},<{upper}.0a0", f"python_abi {python}.* *_{tag}"]
    paths = {entry.path: entry for entry in made.files}
    assert f"lib/python{python}/site-packages/fast.so" in paths
    assert b"from fast import Cli\n" in paths["bin/fast"].data
    assert paths["bin/fast"].prefix == "text"


def test_a_borrowed_wheel_loses_its_extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wheels.BORROWED, ("old", "1.0"), "3.9")
    files = {"old/__init__.py": "", "old/_fast.cpython-39-x86_64-linux-gnu.so": "ELF"}
    made = convert(wheel(tmp_path, "old", "cp39-cp39-manylinux1_x86_64", files), no_extras, BOOKWORM)
    paths = {entry.path: entry.data for entry in made.files}
    assert made.subdir == "noarch"
    assert not [path for path in paths if path.endswith(".so")]
    assert b"Tag: py3-none-any" in paths["site-packages/old-1.0.dist-info/WHEEL"]


def test_a_truncated_wheel_is_named(tmp_path: Path) -> None:
    source = wheel(tmp_path, "demo", "py3-none-any", {"demo.py": "x" * 1000})
    source.path.write_bytes(source.path.read_bytes()[:400])
    with pytest.raises(ToolError) as caught:
        convert(source, no_extras, BOOKWORM)
    assert (caught.value.id, caught.value.where) == ("bad-file", str(source.path))


def test_an_unknown_library_is_not_patched() -> None:
    """Whatever is not exactly as expected stops the build; here libm, which has none of the strings."""
    library = Path("/lib/x86_64-linux-gnu/libm.so.6")
    if not library.exists():
        pytest.skip(f"no {library} on this machine")
    with pytest.raises(ToolError) as caught:
        with_prefix_strings(library.read_bytes(), {"/usr/lib/ssl": f"{PLACEHOLDER}/ssl"})
    assert caught.value.id == "check-failed"


def test_the_zip_members_carry_no_date_or_owner(tmp_path: Path) -> None:
    raw = package().write(tmp_path).read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[0] == "metadata.json"
