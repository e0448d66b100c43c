"""Prefect without graphviz's programs, solved from conda-forge's genuine records beside our packages.

The records end in August 2026, before 3.8.8's dependencies, so Prefect's part is played by conda-forge's own record
of 3.6.24 with python-graphviz exchanged for our binding, which is what our recipe does.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Sequence

import pytest
from rattler import (
    Channel,
    GenericVirtualPackage,
    PackageName,
    RepoDataRecord,
    SparseRepoData,
    Version,
    solve_with_sparse_repodata,
)
from rattler.exceptions import SolverError
from rattler.package.build_string import BuildString

from maintain.channel.index import index
from maintain.lib.paths import RECIPES, ROOT
from maintain.recipes.build import build_line
from support.standin import standin

RECORDS = ROOT.parent / "shared" / "conda-forge"
SUBDIRS = ("linux-64", "noarch")
VIRTUAL = {"__unix": "0", "__linux": "3.10", "__glibc": "2.17"}
PREFECT = "3.6.24"
DRAWING = {"graphviz", "gtk3", "cairo", "pango", "xorg-libx11"}
"""Of what python-graphviz drags in."""

pytestmark = [
    pytest.mark.skipif(not RECORDS.is_dir(), reason=f"no conda-forge records in {RECORDS}"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SparseRepoData]:
    """Our channel, with that Prefect in it, before conda-forge."""
    ours = tmp_path_factory.mktemp("ours")
    (ours / "noarch").mkdir()
    for path in build_line("3", standin("3")):
        shutil.copy(path, ours / "noarch")
    index(ours)
    file = ours / "noarch" / "repodata.json"
    repodata = json.loads(file.read_text())
    theirs = json.loads((RECORDS / "noarch" / "repodata.json").read_text())["packages.conda"]
    name, record = next(
        (name, one) for name, one in theirs.items() if (one["name"], one["version"]) == ("prefect", PREFECT)
    )
    depends = [spec.replace("python-graphviz", "prefect-graphviz") for spec in record["depends"]]
    assert depends != record["depends"]
    repodata["packages.conda"][name] = record | {"depends": depends}
    file.write_text(json.dumps(repodata))
    return [
        *(SparseRepoData(Channel(ours.as_uri()), subdir, ours / subdir / "repodata.json") for subdir in SUBDIRS),
        *conda_forge(),
    ]


def conda_forge() -> list[SparseRepoData]:
    return [SparseRepoData(Channel("conda-forge"), subdir, RECORDS / subdir / "repodata.json") for subdir in SUBDIRS]


def solve(sources: Sequence[SparseRepoData], *specs: str) -> dict[str, RepoDataRecord]:
    virtual = [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString("0"))
        for name, version in VIRTUAL.items()
    ]
    found = asyncio.run(solve_with_sparse_repodata(specs, sources, virtual_packages=virtual))
    return {record.name.normalized: record for record in found}


def size(records: dict[str, RepoDataRecord]) -> int:
    return round(sum(record.size or 0 for record in records.values()) / 1e6)


def test_a_default_solve_has_no_graphviz(sources: list[SparseRepoData]) -> None:
    found = solve(sources, f"prefect =={PREFECT}")
    assert str(found["prefect-graphviz"].build) == "lean_1"
    assert not DRAWING & found.keys()
    assert "python-graphviz" not in found


def test_who_asks_for_conda_forges_binding_gets_it_and_not_ours_beside_it(sources: list[SparseRepoData]) -> None:
    found = solve(sources, f"prefect =={PREFECT}", "python-graphviz")
    assert str(found["prefect-graphviz"].build) == "full_0"
    assert {"python-graphviz", *DRAWING} <= found.keys()
    with pytest.raises(SolverError):
        solve(sources, "prefect-graphviz * lean*", "python-graphviz")


def test_the_documented_extra_brings_the_programs(sources: list[SparseRepoData]) -> None:
    found = solve(sources, f"prefect =={PREFECT}", "prefect-visualize")
    assert "graphviz" in found
    assert str(found["prefect-graphviz"].build) == "lean_1"


def test_the_readme_has_the_numbers(sources: list[SparseRepoData]) -> None:
    lean = solve(sources, f"prefect =={PREFECT}")
    whole = solve(conda_forge(), f"prefect =={PREFECT}")
    rows = re.findall(
        r"^\| (conda-forge's|ours) +\| (\d+) \| (\d+) MB", (RECIPES / "README.md").read_text(), re.MULTILINE
    )
    assert rows == [
        ("conda-forge's", str(len(whole)), str(size(whole))),
        ("ours", str(len(lean)), str(size(lean))),
    ]
