"""The wheels that the recipes package: from the pins to where the recipes look for them."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from maintain.channel.wheels import Wheel, fetch, pins
from maintain.lib.files import atomic_write, verify_sha256
from maintain.lib.paths import BUILD
from maintain.recipes.lines import BUILT, collect, metadata_file

SOURCES = BUILD / "sources"
"""What the recipes' source sections point to."""


def fetch_line(line: str) -> list[Path]:
    """Fetch ``line``'s wheels by their hashes and bring the committed metadata up to date; the wheels in SOURCES."""
    pinned = {pin.name: pin for pin in pins(line)}

    @cache
    def wheel_of(project: str) -> Wheel | None:
        pin = pinned.get(project)
        return fetch([pin])[pin] if pin else None

    text = collect(wheel_of)
    path = metadata_file(line)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        atomic_write(path, text)
    return [place(wheel) for name in BUILT if (wheel := wheel_of(name))]


def place(wheel: Wheel) -> Path:
    """Put ``wheel`` into SOURCES, whole or not at all, and verify it there."""
    target = SOURCES / wheel.path.name
    if not target.is_file():
        SOURCES.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".tmp")
        shutil.copyfile(wheel.path, temporary)
        temporary.replace(target)
    verify_sha256(target, wheel.sha256, source=str(target))
    return target
