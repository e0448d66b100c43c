"""The wheels of an agenda: those that ``envs/wheels.txt`` pins, and those that a new lock asks for beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maintain.channel import locked, sets
from maintain.channel.locked import Part
from maintain.channel.pin import hashed
from maintain.channel.sets import WHEELS, PinSet
from maintain.channel.wheels import Pin
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.rehearse import beside
from maintain.rehearse.agenda import Act

Item = tuple[str, str]
"""(project of the Python index, version)"""


class Book:
    """The pins at hand, by project and version."""

    def __init__(self, path: Path = WHEELS) -> None:
        self.path = path
        self.pins: dict[Item, Pin] = {pin[:2]: pin for pin in sets.read(path)}

    def complete(self, parts: Iterable[Part]) -> list[Pin]:
        """Pin what ``parts`` ask for and the book lacks, by what the index serves now; the new pins.

        Raises ``bad-file`` naming a package of which there is no wheel, ``network`` and ``hash-mismatch``.
        """
        missing = sorted({item for part in parts for item in items(part)} - set(self.pins))
        if not missing:
            return []
        say(f"pinning {len(missing)} wheels ...")
        try:
            found, _ = hashed((Pin(*item, ()) for item in missing), "the lock", every=True)
        except ToolError as error:
            if "no matching distribution" in (error.why or "").lower():
                raise ToolError(
                    "bad-file",
                    "a locked package has no wheel",
                    where=str(Path(str(locked.__file__)).with_name("locked.toml")),
                    why=error.why,
                    fix="add its name on the Python index under [index], or under [nothing] with the reason",
                ) from error
            raise
        self.pins |= {pin[:2]: pin for pin in found}
        return found

    def of(self, act: Act) -> PinSet:
        """The wheels of an act with what runs beside them; :meth:`complete` must have had its part."""
        return PinSet(act.title, tuple(self.pins[item] for item in items(act.part)), ours=False, where=str(self.path))


def items(part: Part) -> list[Item]:
    """What stands for a part, and what runs beside it."""
    return [*part.projects.items(), *beside.of(part)]
