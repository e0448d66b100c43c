"""Recorded sets of wheels: versions by name, and the pins of all of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from maintain.channel.wheels import parse, pins
from maintain.rehearse.book import Book

HERE = Path(__file__).parent
LINES = ("3", "2.8.6")


def versions(name: str) -> dict[str, str]:
    """The versions of a recorded set, or of a line of recipe/."""
    found = pins(name) if name in LINES else parse((HERE / f"{name}.txt").read_text(), name)
    return {pin.name: pin.version for pin in found}


def book() -> Book:
    """The pins of the lock, of the recorded sets, of what moves in them, and of the lines."""
    found = Book()
    for pin in (pin for path in sorted(HERE.glob("*.txt")) for pin in parse(path.read_text(), str(path))):
        found.pins.setdefault(pin[:2], pin)
    for pin in (pin for line in LINES for pin in pins(line)):
        found.pins.setdefault(pin[:2], pin)
    return found


def pairs() -> list[dict[str, Any]]:
    """The planted pairs."""
    planted: list[dict[str, Any]] = tomllib.loads((HERE / "pairs.toml").read_text())["pair"]
    for pair in planted:
        if "red" in pair:
            good = versions(pair["base"])
            pair["moved"] = {
                name: version for name, version in versions(pair["red"]).items() if good.get(name) != version
            }
    return planted
