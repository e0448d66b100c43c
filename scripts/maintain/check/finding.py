"""What a check reports."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass

DIFF_LINES = 40
"""A diff is for reading; what is longer is cut, the repair is the same."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    rule: str
    where: str
    what: str
    fix: str
    """The command that mends it."""
    diff: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as ``--json`` prints it."""
        return asdict(self)


def unified(old: str, new: str, name: str) -> str:
    """The unified diff that turns ``old`` (what is there) into ``new`` (what should be), cut to a readable length."""
    lines = list(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"{name} (is)", f"{name} (should be)", lineterm="", n=1
        )
    )
    rest = len(lines) - DIFF_LINES
    return "\n".join(lines[:DIFF_LINES] + ([f"... {rest} more lines"] if rest > 0 else []))
