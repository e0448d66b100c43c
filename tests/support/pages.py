"""The commands that a page shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each command in the page's ``sh`` blocks, comments and continuations resolved."""
    block, pending = False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip().startswith("```"):
            block = line.strip() == "```sh" and not block
            continue
        if block and line.strip() and not line.strip().startswith("#"):
            pending += line.strip().removesuffix("\\")
            if not line.rstrip().endswith("\\"):
                yield number, pending
                pending = ""
