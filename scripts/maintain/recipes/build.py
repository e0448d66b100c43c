"""Build the recipes with rattler-build's library and put the packages into a channel folder.

rattler-build stamps times, and notes the builder's paths and channels; each package is written again without them,
so that the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import yaml
import zstandard
from rattler_build import (
    PlatformConfig,
    RattlerBuildError,
    RenderConfig,
    Stage0Recipe,
    ToolConfiguration,
    VariantConfig,
)

from maintain.channel import package as writer
from maintain.lib.errors import ToolError
from maintain.lib.files import exclusive, sha256_file
from maintain.lib.paths import RECIPES, RUNTIME, cache_dir
from maintain.manifest import load
from maintain.recipes.catalog import newest_binding
from maintain.recipes.fetch import fetch_line
from maintain.recipes.lines import load_lines

NAMES = ("prefect-graphviz", "prefect", "prefect-env")
"""The recipes of every line."""

RUNTIME_PACKAGE = "prefect-env-runtime"

TARGET = "linux-64"
"""Where the builds run; the packages are noarch."""


def build_line(line: str, channel: Path) -> list[Path]:
    """Build our packages of ``line`` against ``channel`` and put them there; their paths in it.

    The channel's index must be up to date before, and has to be made again afterwards. Packages are kept in the
    cache by what they are made from.
    """
    sources = fetch_line(line)
    drawing = fetch_line(newest_binding(load_lines()).name)
    sources += [path for path in drawing if path.name.startswith("graphviz-") and path not in sources]
    store = cache_dir() / "recipes"
    built: list[Path] = []
    for recipe in NAMES:
        variants = _variants(recipe, load().lines[line].prefect)
        home = store / _key(recipe, variants, sources, channel)
        with exclusive(store / f".{recipe}.lock", what=f"the build of {recipe}", wait=600):
            if not home.is_dir():
                _build(recipe, variants, channel, home)
        built += sorted(home.glob("*.conda"))
    return [_place(path, channel / "noarch") for path in built]


def build_runtime(channel: Path) -> list[Path]:
    """Build ``prefect-env-runtime`` alone, for a channel that has no line; its path in ``channel``."""
    recipe, store = "prefect-env", cache_dir() / "recipes"
    variants = _variants(recipe, next(iter(load().lines.values())).prefect)
    home = store / _key(recipe, {**variants, "only": [RUNTIME_PACKAGE]}, [], channel)
    with exclusive(store / f".{recipe}.lock", what=f"the build of {recipe}", wait=600):
        if not home.is_dir():
            _build(recipe, variants, channel, home, only=RUNTIME_PACKAGE)
    return [_place(path, channel / "noarch") for path in sorted(home.glob("*.conda"))]


def _variants(recipe: str, version: str) -> dict[str, list[str]]:
    """The variant keys of ``recipe`` with the values for Prefect ``version``, in parallel (zipped) lists."""
    config: dict[str, list[str]] = yaml.safe_load((RECIPES / recipe / "variants.yaml").read_text(encoding="utf-8"))
    config.pop("zip_keys", None)
    chosen = [index for index, value in enumerate(config.get("prefect_version", [])) if value == version]
    return {key: [values[index] for index in chosen] for key, values in config.items()} if chosen else config


def _key(recipe: str, variants: dict[str, list[str]], sources: Sequence[Path], channel: Path) -> str:
    """What the recipe's packages are made from, as a cache key."""
    repodata = json.loads((channel / TARGET / "repodata.json").read_text(encoding="utf-8"))
    pythons = [entry["sha256"] for entry in repodata["packages.conda"].values() if entry["name"] == "python"]
    files = [RECIPES / "unpack_wheel.py", *sources, Path(__file__), Path(str(writer.__file__))]
    for folder in (RECIPES / recipe, *([RUNTIME] if recipe == "prefect-env" else [])):
        files += [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    parts = [
        recipe,
        variants,
        pythons,
        installed("py-rattler-build"),
        [(path.name, sha256_file(path)) for path in files],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _build(recipe: str, variants: dict[str, list[str]], channel: Path, home: Path, *, only: str | None = None) -> None:
    """Build the ``variants`` of ``recipe``, or its package ``only``, into the folder ``home``, which appears whole."""
    recipe_file = RECIPES / recipe / "recipe.yaml"
    zipped = [list(variants)] if len(variants) > 1 else None
    with own_cache(), tempfile.TemporaryDirectory(prefix=".build-", dir=home.parent) as name:
        work, done = Path(name, "work"), Path(name, "done")
        done.mkdir()
        try:
            rendered = Stage0Recipe.from_file(recipe_file).render(
                VariantConfig(variants, zipped), RenderConfig(PlatformConfig(target_platform=TARGET))
            )
            # Outputs that use none of the variant keys are rendered once for each combination.
            distinct = {(entry.recipe.package.name, entry.recipe.build.string): entry for entry in rendered}
            for (package, _), variant in distinct.items():
                if only not in (None, package):
                    continue
                result = variant.run_build(
                    ToolConfiguration(),
                    work,
                    channels=[channel.absolute().as_uri()],
                    package_format="conda:1",  # it is compressed again when it is written again
                    no_include_recipe=True,
                )
                for path in result.packages:
                    rewrite(Path(path), done)
        except RattlerBuildError as error:
            raise ToolError(
                "command-failed", f"{recipe} cannot be built", where=str(recipe_file), why=str(error)
            ) from error
        done.rename(home)


@contextmanager
def own_cache() -> Iterator[None]:
    """Let rattler-build keep its packages and repodata in our cache, not in the user's home."""
    before = os.environ.get("RATTLER_CACHE_DIR")
    os.environ["RATTLER_CACHE_DIR"] = str(cache_dir() / "rattler")
    try:
        yield
    finally:
        if before is None:
            del os.environ["RATTLER_CACHE_DIR"]
        else:
            os.environ["RATTLER_CACHE_DIR"] = before


def rewrite(path: Path, folder: Path) -> Path:
    """Write the .conda at ``path`` into ``folder`` with what depends on its content only."""
    found = parts(path)
    info = {entry.path.removeprefix("info/"): entry.data for entry in found["info"]}
    index: dict[str, Any] = json.loads(info["index.json"])
    index.pop("timestamp", None)
    about: dict[str, Any] = json.loads(info["about.json"])
    about.pop("channels", None)
    info["index.json"] = json.dumps(index, indent=2, sort_keys=True).encode()
    info["about.json"] = json.dumps(about, indent=2, sort_keys=True).encode()
    return writer.Package(
        index["name"], index["version"], index["build"], index["subdir"], found["pkg"], info=info
    ).write(folder)


def parts(path: Path) -> dict[str, list[writer.Entry]]:
    """The files of the .conda at ``path``: ``pkg``, what is installed, and ``info``, what describes it."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("-")[0]: _members(archive.read(name)) for name in archive.namelist() if "-" in name}


def _members(packed: bytes) -> list[writer.Entry]:
    raw = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        entries = []
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                raise ToolError("bad-file", f"our packages hold plain files only, not {member.name}")
            entries.append(writer.Entry(member.name, stream.read(), executable=bool(member.mode & 0o100)))
    return entries


def _place(path: Path, folder: Path) -> Path:
    target = folder / path.name
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{path.name}.tmp"
    shutil.copyfile(path, temporary)
    temporary.replace(target)
    return target
