"""The environment against its lock: what is missing, what was added, what was changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect_env.doctor.context import Context, Record
from prefect_env.doctor.registry import Needs, Result, check, fail, merged, ok, skip, warn
from prefect_env.installed import normal

GROUP = "Packages"

REPAIR = "install again: scripts/install, pixi install --locked, or conda install --force-reinstall NAME"
NO_RECORDS = "no records in conda-meta that can be read"
SHOWN = 5
"""How many names a line of evidence holds."""


def some(names: list[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _stem(record: Record) -> str:
    return "-".join(str(record.get(key)) for key in ("name", "version", "build"))


@check("lock", "The packages are those of the lock", Needs.FILES)
def lock(context: Context) -> Result:
    """``conda-meta`` against pixi.lock, or the transactions in ``conda-meta/history``."""
    if context.unread:
        if any(isinstance(error, PermissionError) for error in context.unread.values()):
            why = "conda, pixi and this command cannot tell what is installed"
            fix = f"its owner runs: chmod -R a+rX {context.prefix}/conda-meta"
            return warn(f"this user may not read {len(context.unread)} records of conda-meta", why, fix)
        return fail(
            f"damaged in conda-meta: {some(sorted(context.unread))}", "no tool can update such an environment", REPAIR
        )
    if not context.records:
        return skip(NO_RECORDS)
    found = {_stem(record) for record in context.records}
    wanted, source = _locked(context)
    if not wanted:
        return skip(source)
    results = []
    missing, extra = sorted(wanted - found), sorted(found - wanted)
    if missing:
        results.append(fail(f"missing: {some(missing)}", f"{source} has them", REPAIR))
    if extra:
        results.append(warn(f"not in the lock: {some(extra)}", f"{source} has not", "lock them, or install again"))
    return merged(results, ok(f"{len(found)} packages as in {source}"))


def _locked(context: Context) -> tuple[set[str], str]:
    """The stems of the locked packages, and where they stand (why there are none)."""
    try:
        pixi: Any = json.loads((context.prefix / "conda-meta" / "pixi").read_bytes())
        return _pixi(context, Path(pixi["manifest_path"]).parent / "pixi.lock", str(pixi["environment_name"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    wanted: set[str] = set()
    try:
        text = (context.prefix / "conda-meta" / "history").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return wanted, "no lock and no history of this environment"
    for sign, stem in re.findall(r"^([-+])(?:\S+::)?(\S+)$", text, re.MULTILINE):
        (wanted.add if sign == "+" else wanted.discard)(stem)
    return wanted, "conda-meta/history" if wanted else "conda-meta/history names no package"


def _pixi(context: Context, path: Path, environment: str) -> tuple[set[str], str]:
    """The conda packages of one environment in a pixi.lock (v6, v7) for this prefix's platform.

    Where several platforms of one subdir are locked, the one that fits best.
    """
    try:
        import yaml  # a dependency of every Prefect
    except ImportError:
        return set(), "no YAML reader for pixi.lock"
    text = path.read_text(encoding="utf-8").partition("\npackages:\n")[0]  # what follows is details: three quarters
    content: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    subdirs = {record.get("subdir") for record in context.records}
    named = {entry["name"]: entry.get("subdir") for entry in content.get("platforms", ())}
    found = {_stem(record) for record in context.records}
    candidates = [
        {
            re.sub(r"\.(conda|tar\.bz2)$", "", package["conda"].rpartition("/")[2])
            for package in packages
            if "conda" in package
        }
        for name, packages in content["environments"][environment]["packages"].items()
        if (named.get(name) or name) in subdirs
    ]
    return max(candidates, key=lambda wanted: len(wanted & found), default=set()), str(path)


@check("files", "No file of a package is gone", Needs.FILES)
def files(context: Context) -> Result:
    """Every file that ``conda-meta`` lists, but byte code, which Python makes anew."""
    if context.unread or not context.records:
        return skip(NO_RECORDS)
    root = f"{context.prefix}{os.sep}"
    gone = {
        record["name"]: path
        for record in context.records
        for path in record.get("files", ())
        if not path.endswith(".pyc") and not os.path.lexists(root + path)
    }
    if gone:
        names = [f"{name} ({path})" for name, path in sorted(gone.items())]
        return fail(f"files are gone of {some(names)}", "deleted, or replaced by another installer", REPAIR)
    return ok(f"{len(context.records)} packages are whole")


@check("altered", "No file of a package was changed", Needs.DEEP)
def altered(context: Context) -> Result:
    """The SHA-256 of every file against ``conda-meta``."""
    if context.unread or not context.records:
        return skip(NO_RECORDS)
    changed, count = [], 0
    for record in context.records:
        for path, expected in _hashes(record):
            try:
                found = hashlib.sha256((context.prefix / path).read_bytes()).hexdigest()
            except FileNotFoundError:
                continue  # the check of files says so
            except OSError as error:
                found = str(error)
            count += 1
            if found != expected:
                changed.append(path)
    if changed:
        return fail(f"changed: {some(changed)}", "edited in place, or the disk is damaged", REPAIR)
    return ok(f"{count} files")


def _hashes(record: Record) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each file whose content the record knows."""
    for path in record.get("paths_data", {}).get("paths", ()):
        expected = path.get("sha256_in_prefix") or (None if path.get("prefix_placeholder") else path.get("sha256"))
        if expected and path.get("path_type") == "hardlink":
            yield path["_path"], expected


@check("intruders", "Every Python package came with conda", Needs.FILES)
def intruders(context: Context) -> Result:
    """Metadata folders that no conda package owns: pip or uv put them there."""
    if context.unread or not context.records:
        return skip(NO_RECORDS)
    owned = {
        path.partition(".dist-info/")[0].rpartition("/")[2] + ".dist-info"
        for record in context.records
        for path in record.get("files", ())
        if ".dist-info/" in path
    }
    strange = [package for package in context.packages if package.folder.name not in owned]
    found = sorted(f"{package.name} {package.version}" for package in strange if not package.editable)
    editable = sorted(f"{package.name} {package.version}" for package in strange if package.editable)
    if found:
        return warn(
            f"not from conda: {some(found)}",
            "they are in no lock, and updates of the environment may overwrite or break them",
            f"pip uninstall {' '.join(name.split()[0] for name in found)}; then add them to the environment",
        )
    note = f"; editable: {some(editable)}" if editable else ""
    return ok(f"{len(context.packages)} Python packages{note}")


@check("requirements", "Python packages have what they require", Needs.FILES)
def requirements(context: Context) -> Result:
    """What ``pip check`` says, without pip."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return skip("packaging is not installed")
    have = {normal(package.name): package.version for package in context.packages}
    wrong = set()
    for package in context.packages:
        for text in package.requires:
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                continue
            if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                continue
            version = have.get(normal(wanted.name))
            if version is None:
                wrong.add(f"{package.name} requires {wanted.name}, which is missing")
            elif not wanted.specifier.contains(version, prereleases=True):
                wrong.add(f"{package.name} requires {wanted.name}{wanted.specifier}, not {version}")
    if wrong:
        return fail(some(sorted(wrong)), "an unlocked update, or pip beside conda", REPAIR)
    return ok(f"{len(have)} packages")
