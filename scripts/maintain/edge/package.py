"""The conda packages of a revision's wheel, in a channel of their own beside the one everything else comes from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from maintain.channel.convert import convert
from maintain.channel.index import index
from maintain.channel.package import Package
from maintain.channel.release import of_host
from maintain.channel.wheels import Wheel
from maintain.lib.errors import ToolError
from maintain.recipes.lines import BINDING, GRAPHVIZ, Line, load_lines


def packages(wheel: Wheel, commit: str, *, lean: bool) -> list[Package]:
    """One noarch package for each span of Pythons, with the dependencies that the wheel's own metadata asks for.

    A line's bounds are not added: they are of that release. ``lean`` takes our graphviz binding for conda-forge's.
    """
    metadata: dict[str, dict[str, list[str]]] = {"requires": {**extras(), "prefect": wheel.requires}, "wheels": {}}
    unknown = {
        str(canonicalize_name(requirement.name))
        for requirement in map(Requirement, wheel.requires)
        if requirement.extras and not (requirement.marker and "extra" in str(requirement.marker))
    } - metadata["requires"].keys()
    if unknown:
        raise ToolError(
            "bad-file",
            f"the revision asks for extras of {', '.join(sorted(unknown))}, which no line of ours has asked for yet",
            where=str(wheel.path.name),
            fix="teach maintain/edge what these extras stand for",
        )
    line = Line("edge", wheel.pin.version, str(wheel.metadata["Requires-Python"]), (), (), metadata)
    package = convert(wheel, metadata["requires"].__getitem__, of_host())
    about = {**package.about, "extra": {**package.about["extra"], "commit": commit}}
    return [
        replace(
            package,
            build=f"{build_string(commit)}_{number}",
            depends=[f"python {span.python}", *graphviz_binding(span.requires, lean=lean)],
            about=about,
        )
        for number, span in enumerate(line.spans)
    ]


def extras() -> dict[str, list[str]]:
    """What the extras that Prefect asks for stand for: project -> ``Requires-Dist`` lines, from the lines' wheels."""
    known: dict[str, list[str]] = {}
    for line in sorted(load_lines(), key=lambda line: Version(line.prefect)):
        known |= line.metadata["requires"]
    return known


def graphviz_binding(specs: Iterable[str], *, lean: bool) -> list[str]:
    """``specs`` with graphviz's binding as the channel has it: ours (``lean``) or conda-forge's."""
    have, want = (GRAPHVIZ, BINDING) if lean else (BINDING, GRAPHVIZ)
    return [want + spec.removeprefix(have) if spec.split()[0] == have else spec for spec in specs]


def build_string(commit: str) -> str:
    """What the builds of ``commit`` begin with."""
    return f"edge_{commit[:8]}"


def write_channel(made: list[Package], home: Path) -> None:
    """Write ``made`` as the channel folder ``home``, which appears whole."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".edge-", dir=home.parent) as name:
        folder = Path(name, "channel")
        for package in made:
            (folder / package.subdir).mkdir(parents=True, exist_ok=True)
            package.write(folder / package.subdir)
        if {package.subdir for package in made} != {"noarch"}:
            raise ToolError("command-failed", "Prefect's wheel is not pure Python any more")
        index(folder)
        shutil.rmtree(home, ignore_errors=True)
        folder.rename(home)
