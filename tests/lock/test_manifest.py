"""The manifest as pixi reads it: features, targets, platforms; and errors that name their line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintain.lib.errors import ToolError
from maintain.manifest import Manifest, load
from support.tiny_channel import MANIFEST


def parsed(tmp_path: Path, text: str) -> Manifest:
    path = tmp_path / "pixi.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_features_and_targets_compose(tmp_path: Path) -> None:
    text = MANIFEST + "\n[target.unix.dependencies]\nsqlite = { version = '3.53.*', build = 'h1_*' }\n"
    default = parsed(tmp_path, text).environments["default"]
    assert default.specs("linux-64") == {
        "openssl": ">=3",
        "prefect": ">=3.6,<4",
        "python": ">=3.12,<3.14",
        "sqlite": "3.53.* h1_*",
    }
    assert default.specs("win-64")["prefect"] == ">=3.4,<3.6"
    assert default.specs("win-64")["sqlite"] == ">=3.24"
    assert default.purpose == "Everything"


def test_a_target_declared_later_wins(tmp_path: Path) -> None:
    tables = ["[target.linux-64.dependencies]\nnative = '1.0'\n", "[target.linux.dependencies]\nnative = '2.0'\n"]
    for order in (tables, tables[::-1]):
        manifest = parsed(tmp_path, MANIFEST + "\n" + "\n".join(order))
        assert manifest.environments["default"].specs("linux-64")["native"] == order[1][-5:-2]


def test_no_default_feature_and_platforms_of_a_feature(tmp_path: Path) -> None:
    text = MANIFEST.replace('old = ["old"]', 'old = { features = ["old"], no-default-feature = true }')
    text = text.replace(
        "[feature.old.dependencies]", '[feature.old]\nplatforms = ["win-64"]\n\n[feature.old.dependencies]'
    )
    old = parsed(tmp_path, text).environments["old"]
    assert (old.platforms, old.specs("win-64")) == (("win-64",), {"native": "*"})


def test_two_features_that_name_a_package_both_count(tmp_path: Path) -> None:
    text = MANIFEST.replace('native = "*"', 'native = "*"\npython = "<3.13"')
    assert parsed(tmp_path, text).environments["old"].specs("linux-64")["python"] == "<3.13,>=3.12,<3.14"


def test_virtual_packages_are_spelled_and_ordered_as_pixi_does_it(tmp_path: Path) -> None:
    platforms = parsed(tmp_path, MANIFEST).platforms
    assert platforms["linux-64"].name == "linux-64-glibc-2-17-linux-3-10"
    assert platforms["linux-64"].virtual_packages == (
        "__glibc=2.17",
        "__linux=3.10",
        "__unix=0=0",
        "__archspec=0=x86_64",
    )
    assert platforms["win-64"].virtual_packages == ("__win=10.0", "__archspec=0=x86_64")


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('version = "1.2.3"', 'version = "1.2.3', 3, "not valid TOML"),
        ('version = "1.2.3"', "version = 1", 3, "workspace.version"),
        ('"win-64"]', '"win-65"]', 5, "win-65"),
        ('linux = "3.10"', 'windows = "10"', 5, "windows means nothing on linux-64"),
        ('linux = "3.10"', 'kernel = "3.10"', 5, "kernel"),
        ("channels = [", 'solve-strategy = "lowest"\nchannels = [', 4, "solve-strategy"),
        ("[dependencies]", '[system-requirements]\nlibc = "2.17"\n\n[dependencies]', 7, "system-requirements"),
        ("[feature.old.dependencies]", "[feature.default.dependencies]", 18, "default feature"),
        ('openssl = ">=3"', 'openssl = { git = "x" }', 8, "git"),
        ('openssl = ">=3"', '"open ssl" = ">=3"', 8, "no package name"),
        ("[feature.old.dependencies]", "[feature.old.pypi-dependencies]", 18, "pypi-dependencies"),
        ("[feature.prefect.target.win-64.", "[feature.prefect.target.win-32.", 15, "win-32"),
        ('default = ["prefect"]', 'default = ["perfect"]', 22, "perfect"),
        ('old = ["old"]', 'old = { features = ["old"], solve-group = "x" }', 23, "solve-group"),
        ('old = "Nothing', 'older = "Nothing', 27, "older is described but not declared"),
    ],
)
def test_errors_name_their_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    assert old in MANIFEST
    with pytest.raises(ToolError) as caught:
        parsed(tmp_path, MANIFEST.replace(old, new, 1))
    assert caught.value.id == "bad-file"
    assert what in caught.value.what
    assert caught.value.where == f"{tmp_path / 'pixi.toml'}:{line}"


@given(st.integers(0, len(MANIFEST)), st.integers(0, 40), st.text(max_size=3))
def test_a_damaged_manifest_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, at: int, cut: int, put: str
) -> None:
    """Whatever is cut out of it or put into it: a manifest, or an error with file and line."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    try:
        parsed(folder, MANIFEST[:at] + put + MANIFEST[at + cut :])
    except ToolError as error:
        assert error.id == "bad-file"
        assert re.fullmatch(rf"{re.escape(str(folder))}/pixi\.toml:\d+", error.where or "")
