"""Run the recipes' own tests on the packages that a channel can install here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rattler_build import Package

from maintain.channel.index import index
from maintain.install.choice import choose
from maintain.install.network import configuration
from maintain.install.plan import solved
from maintain.lib.console import progress, say
from maintain.lib.errors import ToolError
from maintain.recipes.build import build_line, own_cache


@dataclass(frozen=True)
class Result:
    """What became of one package's tests."""

    package: str
    outcome: Literal["passed", "failed", "skipped"]
    note: str = ""


def test_line(line: str, channel: Path) -> list[Result]:
    """Build our packages of ``line`` into ``channel`` and test each of them in an environment of its own.

    A package that the channel cannot install on this host (another system's, another Python's) is skipped.
    """
    paths = build_line(line, channel)
    index(channel)
    results = []
    with own_cache(), progress() as bar:
        task = bar.add_task(f"tests of line {line}", total=len(paths))
        for path in paths:
            results.append(_test(path, channel))
            bar.advance(task)
    return results


def _test(path: Path, channel: Path) -> Result:
    package = Package.from_file(path)
    wanted = f"{package.name} =={package.version} {package.build_string}"
    try:
        asyncio.run(solved(choose(str(channel)), configuration(), package.name, [wanted], []))
    except ToolError as error:
        if error.id != "unsatisfiable":
            raise
        return Result(path.name, "skipped", "the channel cannot install it on this host")
    for result in package.run_tests(channel=[channel.absolute().as_uri()]):
        if not result.success:
            log = "\n".join(result.output)
            say(log.rpartition("Testing commands:")[2])  # before it: what was installed, 150 lines
            return Result(path.name, "failed", f"test {result.test_index}")
    return Result(path.name, "passed", f"{package.test_count} tests")
