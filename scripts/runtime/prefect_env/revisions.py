"""Which Prefect wrote a database: alembic revisions, their order and the releases that reached them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from prefect_env.versions import Version

_REVISION = re.compile(r"""^revision(?:: [^=]+)? = ["'](\w+)["']""", re.MULTILINE)
_PARENT = re.compile(r"""^down_revision(?:: [^=]+)? = ["'](\w+)["']""", re.MULTILINE)


@cache
def table(dialect: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The known revisions of ``dialect`` (sqlite, postgresql), root to head, and releases with their heads in order."""
    text = resources.files("prefect_env").joinpath("data/revisions.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)[dialect]
    return tuple(found["revisions"]), found["heads"]


def written_by(dialect: str, revision: str) -> str | None:
    """The Prefect releases that leave a database at ``revision``, in words; None for an unknown revision."""
    order, heads = table(dialect)
    if revision not in order:
        return None
    place = order.index(revision)
    exact = [release for release, head in heads.items() if head == revision]
    if exact:
        return f"Prefect {exact[0]}" + (f" to {exact[-1]}" if len(exact) > 1 else "")
    older = [release for release, head in heads.items() if order.index(head) < place]
    newer = [release for release, head in heads.items() if order.index(head) > place]
    if not newer:
        return f"a Prefect newer than {older[-1]}"
    return f"a Prefect newer than {older[-1]} and before {newer[0]}" if older else f"a Prefect before {newer[0]}"


def head_of(dialect: str, version: Version) -> str | None:
    """The head that ``version`` surely has: the one of the same release, else of two releases around it that agree."""
    _, heads = table(dialect)
    older = [head for release, head in heads.items() if Version(release) <= version]
    newer = [head for release, head in heads.items() if Version(release) >= version]
    return older[-1] if older and newer and older[-1] == newer[0] else None


def installed(package: Path, dialect: str) -> tuple[str, ...]:
    """The revisions that the Prefect in the folder ``package`` brings, root to head, read from its migration files.

    The folder moved twice (orion/ until 2.8.0, then server/, ``_migrations`` from 3.1.6). Empty if there is none.
    """
    children: dict[str | None, str] = {}
    for place in ("server/database/_migrations", "server/database/migrations", "orion/database/migrations"):
        for path in (package / place / "versions" / dialect).glob("*.py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            revision, parent = _REVISION.search(text), _PARENT.search(text)
            if revision:
                children[parent[1] if parent else None] = revision[1]
        if children:
            break
    found: list[str] = []
    at: str | None = None
    while at in children and len(found) < len(children):
        at = children[at]
        found.append(at)
    return tuple(found)
