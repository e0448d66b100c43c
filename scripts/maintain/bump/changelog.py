"""The changelog's lists of packages and lines that moved since the last release."""

from __future__ import annotations

import re

EMPTY = "# Changelog\n\n## Unreleased\n"
HEADING = "### Packages"
LINES = "### Lines"


def with_packages(text: str, lines: list[str], heading: str = HEADING) -> str:
    """``text`` with ``lines`` under Unreleased / ``heading``, after those of earlier bumps.

    An unreleased section or heading that is missing is made, as the first of the file's releases.
    """
    if not re.search(r"^## Unreleased$", text, re.MULTILINE):
        first = re.search(r"^## ", text, re.MULTILINE)
        at = first.start() if first else len(text)
        text = f"{text[:at].rstrip()}\n\n## Unreleased\n\n{text[at:]}".rstrip() + "\n"
    start = re.search(r"^## Unreleased$", text, re.MULTILINE)
    assert start is not None  # made above if it was missing  # noqa: S101
    following = re.search(r"^## ", text[start.end() :], re.MULTILINE)
    end = start.end() + following.start() if following else len(text)
    section, rest = text[start.end() : end].rstrip(), text[end:]
    block = "\n".join(lines)
    if heading in section:
        before, _, after = section.partition(heading)
        own, separator, later = after.partition("\n### ")
        section = f"{before}{heading}{own.rstrip()}\n{block}" + (f"\n\n### {later}" if separator else "")
    else:
        section += f"\n\n{heading}\n{block}"
    return text[: start.end()] + section + "\n" + (f"\n{rest}" if rest else "")
