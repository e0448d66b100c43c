"""What follows from a lock: other programs read it, it says the truth, and damaged files are named."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from maintain.bounds import applying
from maintain.bounds import load as load_bounds
from maintain.bump import __main__ as bump
from maintain.bump import changelog
from maintain.check import satisfy
from maintain.lib.errors import ToolError
from maintain.lib.paths import ENVS, LOCK
from maintain.lock import diff, lockfile
from maintain.lock.package import Package, Solution, solution
from maintain.manifest import load
from support import tiny_channel
from support.commands import run, script

BIN = Path(sys.executable).parent


def locked_urls(environment: str, subdir: str) -> dict[str, str]:
    """URL -> SHA-256 of what is locked."""
    packages = solution(lockfile.read(LOCK).records)[environment, subdir]
    return {package.url: package.sha256 or "" for package in packages}


@pytest.mark.parametrize("subdir", load().platforms)
def test_explicit_files_list_what_is_locked_dependencies_first(subdir: str) -> None:
    lines = (ENVS / "default" / f"{subdir}.txt").read_text(encoding="utf-8").splitlines()
    head, body = lines[: lines.index("@EXPLICIT")], lines[lines.index("@EXPLICIT") + 1 :]
    assert all(line.startswith("# ") for line in head)
    assert dict(line.split("#sha256:") for line in body) == locked_urls("default", subdir)
    names = [re.sub(r"-[^-]+-[^-]+$", "", line.split("#")[0].rpartition("/")[2]) for line in body]
    order = [names.index(name) for name in ("ca-certificates", "openssl", "python", "sqlalchemy", "prefect")]
    assert order == sorted(order)


def test_conda_lock_renders_the_same_packages(tmp_path: Path) -> None:
    run(
        [BIN / "conda-lock", "render", "--kind", "explicit", ENVS / "default" / "conda-lock.yml"],
        cwd=tmp_path,
        trouble=True,
    )
    for subdir in load().platforms:
        rendered = (tmp_path / f"conda-{subdir}.lock").read_text(encoding="utf-8")
        urls = {line.split("#")[0] for line in rendered.splitlines() if line.startswith("https://")}
        assert urls == set(locked_urls("default", subdir))


def test_environment_files_are_yaml_with_the_locked_prefect() -> None:
    manifest, packages, bounds = load(), solution(lockfile.read(LOCK).records), load_bounds()
    index = json.loads((ENVS / "index.json").read_text(encoding="utf-8"))
    seen = set()
    for name, environment in index["environments"].items():
        for file in environment["files"]:
            if file["kind"] != "environment":
                continue
            document = yaml.safe_load((ENVS.parent / file["path"]).read_text(encoding="utf-8"))
            assert document["channels"] == ["conda-forge"]
            for subdir in file["platforms"]:
                seen.add((name, subdir))
                versions = {package.name: package.version for package in packages[name, subdir]}
                for spec in document["dependencies"]:
                    pinned = re.fullmatch(r"([\w.-]+)=([^=]+)", spec)
                    assert not pinned or versions[pinned[1]] == pinned[2]
                for bound in applying(bounds, versions.get("prefect", "0")):  # a user who relaxes versions keeps them
                    assert bound.conda in document["dependencies"]
    assert seen == {(name, subdir) for name, item in manifest.environments.items() for subdir in item.platforms}


def test_sboms_list_what_is_locked_and_are_reproducible(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maintain.sbom", "--quiet", "--output"]
    env = {**os.environ, "PYTHONPATH": str(ENVS.parent / "scripts")}
    for folder in ("one", "two"):
        run([*command, tmp_path / folder], env=env)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    records = lockfile.read(LOCK).records
    assert files == sorted(
        f"{name}-{subdir}{end}" for name, subdir in records for end in (".cdx.json", ".licences.csv")
    )
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    document = json.loads((tmp_path / "one" / "default-win-64.cdx.json").read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    hashes = {item["content"] for part in document["components"] for item in part["hashes"] if item["alg"] == "SHA-256"}
    assert hashes == set(locked_urls("default", "win-64").values())


def test_rewriting_the_lock_changes_nothing() -> None:
    assert lockfile.text(load(), lockfile.read(LOCK).records) == LOCK.read_text(encoding="utf-8")


def test_a_lock_with_the_platform_names_of_an_older_pixi_is_the_same_lock(tmp_path: Path) -> None:
    """pixi 0.71 to 0.77 wrote p1, p2, ...; only the names are to be mended, by writing it again."""
    manifest, text = load(), LOCK.read_text(encoding="utf-8")
    rich = [platform.name for platform in manifest.platforms.values() if platform.name != platform.subdir]
    older = text
    for number, name in enumerate(rich, 1):
        older = older.replace(name, f"p{number}")
    path = tmp_path / "pixi.lock"
    path.write_text(older, encoding="utf-8")
    lock = lockfile.read(path)
    assert lockfile.text(manifest, lock.records) == text
    assert {finding.rule for finding in satisfy.findings(manifest, lock)} == {"platforms"}
    assert len(list(satisfy.findings(manifest, lock))) == len(rich) == 2
    assert not list(satisfy.options(older, str(path)))


@given(st.data())
def test_a_damaged_lock_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is cut out of it or put into it: a lock, or an error with file and line; never a traceback."""
    text = SMALL_LOCK
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.sampled_from([0, 1, 7, 60, len(text)]))
    put = data.draw(st.sampled_from(["", "\x00", ": ", "[", "- x\n", "é", "9" * 30]))
    path = tmp_path_factory.getbasetemp() / "damaged.lock"
    path.write_text(text[:at] + put + text[at + cut :], encoding="utf-8")
    try:
        lockfile.read(path)
    except ToolError as error:
        assert error.id == "bad-file"
        assert re.fullmatch(rf"{re.escape(str(path))}:\d+", error.where or "")


SMALL_LOCK = """\
version: 7
platforms:
- name: linux-64
  virtual-packages:
  - __unix=0=0
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/libzlib-1.3.1-hb9d3cd8_2.conda
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/libzlib-1.3.1-hb9d3cd8_2.conda
  sha256: d4bfe88d7cb447768e31650f06257995601f89076080e76df55e3112d4e47dc4
  md5: edb0dca6bc32e4f4789199455a1dbeb8
  depends:
  - __glibc >=2.17,<3.0.a0
  license: Zlib
  size: 60963
  timestamp: 1727963148474
"""


def package(name: str, version: str, build: str = "0", size: int | None = 1_000_000) -> Package:
    return Package(name, version, build, "noarch", f"u/{name}-{version}-{build}", "0" * 64, None, size, "MIT", (), ())


LINUX, WINDOWS = ("default", "linux-64"), ("default", "win-64")


def test_a_diff_says_what_came_went_and_moved() -> None:
    before: Solution = {LINUX: (package("a", "1"), package("b", "1"), package("c", "1"), package("e", "1"))}
    large = package("a", "2", size=3_000_000)
    after: Solution = {LINUX: (large, package("b", "1", "1"), package("d", "1"), package("e", "1"))}
    changes = diff.compare(before, after)
    assert diff.lines(changes) == [
        "default on linux-64: 4 packages, +2.0 MB",
        "    a 1 -> 2",
        "    b 1: 0 -> 1",
        "  - c 1 0",
        "  + d 1 0",
    ]
    assert diff.compare(after, after) == {}


def test_the_changelog_names_a_package_once() -> None:
    before: Solution = {LINUX: (package("a", "1"),), WINDOWS: (package("a", "1"), package("b", "1"))}
    after: Solution = {LINUX: (package("a", "2"),), WINDOWS: (package("a", "2"),)}
    assert diff.markdown(diff.compare(before, after)) == ["- `a 1 -> 2`", "- `- b 1 0` (default/win-64)"]


@pytest.mark.parametrize(
    "text",
    [
        "# Changelog\n",
        "# Changelog\n\n## Unreleased\n",
        "# Changelog\n\nIntro.\n\n## 1.0\n- old\n",
        "# Changelog\n\n## Unreleased\n\n### Added\n- new\n\n## 1.0\n- old\n",
        "# Changelog\n\n## Unreleased\n\n### Packages\n- `z 1 -> 2`\n\n### Fixed\n- bug\n\n## 1.0\n- old\n",
    ],
)
def test_the_changelog_keeps_what_it_has(text: str) -> None:
    once = changelog.with_packages(text, ["- `a 1 -> 2`"])
    twice = changelog.with_packages(once, ["- `a 2 -> 3`"])
    kept = [line for line in text.splitlines() if line]
    assert [line for line in twice.splitlines() if line in kept and line] == kept
    section = twice.partition("## Unreleased")[2].partition("\n## ")[0]
    assert section.count("### Packages") == 1
    assert section.index("`a 1 -> 2`") < section.index("`a 2 -> 3`")
    assert "\n\n\n" not in twice


def test_a_bump_writes_the_changelog(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bump, "ROOT", project)
    newer = tiny_channel.record("openssl", "3.6.1", "h1_0", "linux-64", [tiny_channel.GLIBC])
    folder = tiny_channel.write_records(tmp_path / "newer", [*tiny_channel.records(), newer])
    for _ in range(2):  # the second time nothing moves
        done = CliRunner().invoke(bump.cli, ["--repodata", str(folder), "--unrehearsed"])
        assert done.exit_code == 0, done.output
        text = (project / "CHANGELOG.md").read_text(encoding="utf-8")
        assert text.count("- `openssl 3.6.0 -> 3.6.1`") == 1


@pytest.mark.parametrize("name", ["lock", "check", "sbom", "bump"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    assert f"Example: scripts/{name}" in script(name, "--help", trouble=True).stdout
