"""The conda packages of a revision: its own dependencies, one build for each span of Pythons."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from maintain.channel.index import listed
from maintain.channel.wheels import Pin, Wheel
from maintain.edge.package import packages, write_channel
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file

COMMIT = "0123456789" * 4
VERSION = "9.0.0+4.g0123456"


def wheel(folder: Path, *requires: str) -> Wheel:
    path = folder / f"prefect-{VERSION}-py3-none-any.whl"
    head = f"Metadata-Version: 2.1\nName: prefect\nVersion: {VERSION}\nRequires-Python: >=3.11,<3.14\n"
    info = f"prefect-{VERSION}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prefect/__init__.py", "")
        archive.writestr(f"{info}/METADATA", head + "".join(f"Requires-Dist: {text}\n" for text in requires))
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nprefect = prefect.cli:app\n")
    return Wheel(path, Pin("prefect", VERSION, (sha256_file(path),)))


def test_the_revisions_own_metadata_counts(tmp_path: Path) -> None:
    made = packages(
        wheel(
            tmp_path,
            "fastapi>=0.160",  # line 3 has a bound below
            "sqlalchemy[asyncio]>=2",
            "pendulum>=3; python_version < '3.13'",
            "graphviz>=0.20",
            "uv>=0.6; extra == 'bundles'",
        ),
        COMMIT,
        lean=False,
    )
    common = {"fastapi >=0.160", "sqlalchemy >=2", "greenlet >=1", "python-graphviz >=0.20"}
    assert [(package.version, package.build, set(package.depends)) for package in made] == [
        (VERSION, "edge_01234567_0", {*common, "python >=3.11,<3.13", "pendulum >=3"}),
        (VERSION, "edge_01234567_1", {*common, "python >=3.13,<3.14"}),
    ]
    assert made[0].about["extra"]["commit"] == COMMIT


def test_our_own_graphviz_binding_where_the_channel_has_it(tmp_path: Path) -> None:
    (made,) = packages(wheel(tmp_path, "graphviz>=0.20"), COMMIT, lean=True)
    assert "prefect-graphviz >=0.20" in made.depends


def test_extras_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="asks for extras of new-thing") as caught:
        packages(wheel(tmp_path, "new_thing[fast]>=1"), COMMIT, lean=True)
    assert caught.value.id == "bad-file"


def test_the_channel_appears_whole_and_lists_every_build(tmp_path: Path) -> None:
    home = tmp_path / "channel"
    made = packages(wheel(tmp_path, "pendulum>=3; python_version < '3.13'"), COMMIT, lean=True)
    write_channel(made, home)
    write_channel(made, home)  # once more over it
    assert set(listed(home)) == {f"noarch/{package.filename}" for package in made}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"channel"}
