"""Write ``prefect_env/data/revisions.json``: which Prefect wrote a database, read from its alembic revision.

The revisions come from the migration folders of the lines' wheels, so a bump of a line brings its migrations along;
the heads of releases that are no line of ours are facts of Prefect's tags, listed in :data:`HEADS`, and those that were
a line of ours once stay in the file.
``python -m maintain.revisions`` in the tool environment writes the file; a test compares it with the wheels.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import click

from maintain.lib.console import emit, main, say, tool
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, explained
from maintain.lib.paths import RUNTIME
from maintain.manifest import load

DATA = RUNTIME / "prefect_env" / "data" / "revisions.json"
DIALECTS = ("sqlite", "postgresql")

HEADS = {
    "sqlite": {
        "2.0a10": "9725c1cbee35",
        "2.0b5": "db6bde582447",
        "2.0b6": "d76326ed0d06",
        "2.0.0": "88c2112b668f",
        "3.0.0": "f93e1439f022",
        "3.0.3": "4ad4658cbefe",
        "3.4.0": "7655f31c5157",
        "3.4.19": "9e83011d1f2a",
        "3.8.3": "14806cb26270",
    },
    "postgresql": {
        "2.0.0": "add97ce1937d",
        "3.0.0": "97429116795e",
        "3.1.0": "eaec5004771f",
        "3.8.3": "50737cdaee36",
    },
}
"""Release -> the revision it had reached, from the migration folders at the tags of PrefectHQ/prefect."""

_MIGRATION = re.compile(r"prefect/server/database/_?migrations/versions/(\w+)/\d[^/]*\.py")


def chain(wheel: Path, dialect: str) -> list[tuple[str, str]]:
    """The revisions of ``dialect`` in a Prefect wheel, root to head, each with what it does in words.

    Raises ``bad-file`` if they are no single line from one root.
    """
    children: dict[str | None, tuple[str, str]] = {}
    total = 0
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            match = _MIGRATION.fullmatch(name)
            if match is None or match[1] != dialect:
                continue
            text = archive.read(name).decode()
            revision, parent = (_assigned(text, key) for key in ("revision", "down_revision"))
            title = re.search(r'\A\s*"""(.*)', text)
            total += 1
            children[parent] = (revision or "", title[1].strip().rstrip('"').rstrip(".") if title else "")
    found: list[tuple[str, str]] = []
    at: str | None = None
    while at in children:
        found.append(children[at])
        at = children[at][0]
    if len(found) != total or not found:
        raise ToolError("bad-file", f"the {dialect} migrations are no single line", where=str(wheel))
    return found


def _assigned(text: str, name: str) -> str | None:
    match = re.search(rf'^{name}(?:: [^=]+)? = (?:"(\w+)"|None)$', text, re.MULTILINE)
    if match is None:
        raise ToolError("bad-file", f"a migration has no plain {name}")
    return match[1]


def document(wheels: Iterable[tuple[str, Path]]) -> str:
    """The file's text from ``(Prefect version, wheel)`` pairs."""
    by_version = sorted(wheels, key=lambda pair: _key(pair[0]))
    content = {}
    for dialect in DIALECTS:
        chains = {version: chain(wheel, dialect) for version, wheel in by_version}
        revisions = chains[by_version[-1][0]]
        index = [revision for revision, _ in revisions]
        heads = HEADS[dialect] | _written(dialect) | {version: found[-1][0] for version, found in chains.items()}
        unknown = [revision for found in chains.values() for revision, _ in found if revision not in index]
        unknown += [revision for revision in heads.values() if revision not in index]
        if unknown:
            raise ToolError("bad-file", f"revisions that the newest line does not have: {', '.join(unknown)}")
        content[dialect] = {
            "revisions": dict(revisions),
            "heads": dict(sorted(heads.items(), key=lambda pair: index.index(pair[1]))),
        }
    return json.dumps(content, indent=1) + "\n"


def _written(dialect: str) -> dict[str, str]:
    """The heads that the file has now: what a release had reached does not change when its line moves on."""
    with explained(DATA):
        heads: dict[str, str] = json.loads(DATA.read_text(encoding="utf-8"))[dialect]["heads"]
    return heads


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def wheels_of_lines() -> list[tuple[str, Path]]:
    """The Prefect version and wheel of each line that has a database, fetched by hash."""
    from maintain.recipes.fetch import fetch_line

    found = []
    for line in load().lines.values():
        if not line.serves:
            continue
        path = next(path for path in fetch_line(line.name) if path.name.startswith("prefect-"))
        found.append((line.prefect, path))
    return found


@click.command(epilog="Example: PYTHONPATH=scripts python -m maintain.revisions")
@tool
def cli(as_json: bool) -> None:
    """Write the table of database revisions from the lines' wheels."""
    atomic_write(DATA, document(wheels_of_lines()))
    emit(str(DATA), lambda: say(f"wrote {DATA}"), as_json=as_json)


if __name__ == "__main__":
    main(cli)
