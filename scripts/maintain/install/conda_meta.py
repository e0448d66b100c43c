"""The records of a prefix (``conda-meta``), as conda, conda-pack and pixi read them.

One ``NAME-VERSION-BUILD.json`` per package (https://conda.org/learn/ceps, ``PrefixRecord`` in conda), and ``history``:
revisions with the command, the packages added and removed, and the specs that were asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write

if TYPE_CHECKING:  # a bundle carries this module, without py-rattler
    from maintain.install.plan import Package, Plan

Record = dict[str, Any]


def load(prefix: Path) -> dict[str, Record]:
    """All records of ``prefix`` by package name; ``bad-file`` for one that cannot be read."""
    records: dict[str, Record] = {}
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
            records[record["name"]] = record
        except (ValueError, KeyError, TypeError) as error:
            raise ToolError(
                "bad-file",
                "a record of the environment cannot be read",
                where=str(path),
                why=str(error),
                fix="move the prefix away and install it again",
            ) from error
    return records


def save(prefix: Path, record: Record) -> None:
    """Write one record; compact, because Python encodes that ten times faster than indented JSON."""
    path = prefix / "conda-meta" / f"{stem(record)}.json"
    path.write_text(json.dumps(record, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
    path.chmod(0o644)  # py-rattler makes it 0600, and nobody else could tell what a shared prefix holds


def stem(record: Record) -> str:
    """``name-version-build`` of a record."""
    return f"{record['name']}-{record['version']}-{record['build']}"


def adopt(records: dict[str, Record], plan: Plan) -> None:
    """Make the records say where packages come from, not which file of our cache, and which were asked for."""
    from rattler import MatchSpec

    from maintain.install.network import masked

    specs: dict[str, list[str]] = {}
    for text in plan.specs:
        name = MatchSpec(text).name
        if name is not None:
            specs.setdefault(name.normalized, []).append(text)
    for package in plan.packages:
        record = records[package.name]
        asked = specs.get(package.name, [])
        record["url"] = masked(package.record.url)
        record["channel"] = masked(package.record.channel or "")
        record["fn"] = package.record.file_name
        record["requested_specs"] = asked
        record.pop("requested_spec", None)
        if asked:  # what conda reads
            record["requested_spec"] = asked[0]


def differences(records: dict[str, Record], packages: Sequence[Package]) -> list[str]:
    """How the installed packages differ from the plan, one line each; empty when they are the same."""
    wanted = {package.stem: package.sha256 for package in packages}
    found = {stem(record): record.get("sha256") for record in records.values()}
    return [
        *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
        *(f"{name} is not in the plan" for name in sorted(found.keys() - wanted.keys())),
        *(f"{name} is another build" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]),
    ]


def damaged(prefix: Path, records: dict[str, Record]) -> set[str]:
    """Names of the packages of which a file is gone."""
    root = f"{prefix}{os.sep}"
    return {
        name for name, record in records.items() if not all(os.path.lexists(root + file) for file in record["files"])
    }


def add_revision(
    prefix: Path, command: str, specs: Sequence[str], before: Iterable[Record], after: Iterable[Record]
) -> None:
    """Append a revision to ``conda-meta/history`` in conda's form."""
    path = prefix / "conda-meta" / "history"
    old, new = {_dist(record) for record in before}, {_dist(record) for record in after}
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"==> {now} <==", f"# cmd: {command}"]
    lines += [f"-{dist}" for dist in sorted(old - new)]
    lines += [f"+{dist}" for dist in sorted(new - old)]
    if specs:
        lines.append(f"# update specs: {json.dumps(list(specs))}")
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    atomic_write(path, earlier + "\n".join(lines) + "\n")


def _dist(record: Record) -> str:
    channel = str(record.get("channel") or "").rstrip("/").removeprefix("https://conda.anaconda.org/")
    return f"{channel}/{record['subdir']}::{stem(record)}"
