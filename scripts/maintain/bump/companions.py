"""Which packages of Prefect's makers do not go with a Prefect (``recipe/companions.toml``)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from maintain.bump import index
from maintain.channel.pin import resolve
from maintain.lib.errors import ToolError
from maintain.lib.files import explained
from maintain.lib.paths import RECIPES

FILE = "companions.toml"


@dataclass(frozen=True)
class Companion:
    """An entry of the file."""

    name: str
    reason: str
    """What people have it for."""
    same: bool
    """Whether it is released together with Prefect, under the same number."""


def load() -> tuple[Companion, ...]:
    """All of them; raise ``bad-file`` for what is wrong."""
    path = RECIPES / FILE
    with explained(path):
        text = path.read_text(encoding="utf-8")
    try:
        entries = tomllib.loads(text)["companion"]
        return tuple(Companion(entry["name"], entry["reason"], entry.get("same", False)) for entry in entries)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        what = "a companion needs name and reason"
        raise ToolError("bad-file", what, where=str(path), why=repr(error)) from error


def unfollowed(prefect: str) -> list[str]:
    """What does not go with ``prefect``, each in a few words."""
    return [words for companion in load() if (words := _unfollowed(companion, prefect))]


def _unfollowed(companion: Companion, prefect: str) -> str:
    newest = index.releases(companion.name)[0]
    if companion.same:
        return "" if str(newest) == prefect else f"{companion.name} ends at {newest}"
    wanted = [f"prefect=={prefect}"]
    if index.goes_together([*wanted, f"{companion.name}=={newest}"]):
        return ""
    if not index.goes_together([*wanted, companion.name]):
        return f"no {companion.name} accepts it"
    return f"{companion.name} {newest} does not accept it, {resolve([*wanted, companion.name])[companion.name]} does"
