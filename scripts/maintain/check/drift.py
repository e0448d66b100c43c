"""Whether what is generated from manifest and lock is what lies on disk."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from maintain.check.finding import Finding, unified
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES, ROOT
from maintain.lock import render, store
from maintain.lock.lockfile import Lock
from maintain.manifest import Manifest
from maintain.recipes.render import stale as stale_recipes

FIX = "scripts/lock"


def generated(root: Path, manifest: Manifest, lock: Lock) -> Iterator[Finding]:
    """Every generated file that is missing, left over or different, with the difference.

    The lock must satisfy the manifest, or there is nothing to compare with.
    """
    readme = store.read_text(root / "README.md")
    wanted = store.outputs(manifest, lock.records, readme, store.evidence(root))
    for path in store.stale(root, wanted):
        present = store.read_bytes(root / path)
        if path not in wanted:
            yield Finding("drift", path, "nothing generates this file any more", FIX)
        elif present is None:
            yield Finding("drift", path, "the file is missing", FIX)
        else:
            text = present.decode(errors="replace")
            yield Finding(
                "drift",
                path,
                "the file is not what scripts/lock writes",
                FIX,
                unified(text, wanted[path], path),
            )
    if not store.trusted(root):
        what = (
            "envs/ was made from another lock file: this one was edited, written by pixi, or by a killed scripts/lock"
        )
        yield Finding("drift", "pixi.lock", what, FIX)
    if readme is not None and "README.md" not in wanted:
        what = (
            f"the table of platforms has no place: the lines {render.README_START} and {render.README_END} are missing"
        )
        yield Finding("drift", "README.md", what, "add the two lines, then run scripts/lock")


def recipes() -> Iterator[Finding]:
    """Every generated recipe that is not what lines and bounds say."""
    for path, text in stale_recipes():
        name = path.relative_to(ROOT).as_posix()
        yield Finding(
            "recipes",
            name,
            "the recipe is not what its data says",
            "scripts/recipe render",
            unified(store.read_text(path) or "", text, name),
        )


def lines(manifest: Manifest) -> Iterator[Finding]:
    """Lines that are described but that the manifest does not declare."""
    path = RECIPES / "lines.toml"
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolError("bad-file", "the lines' data cannot be read", where=str(path), why=str(error)) from error
    for name in sorted({key for key, value in declared.items() if isinstance(value, dict)} - set(manifest.lines)):
        yield Finding(
            "recipes",
            "recipe/lines.toml",
            f"line {name} is described but pixi.toml does not declare it",
            "correct one of them",
        )
