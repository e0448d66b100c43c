"""Compare versions of Prefect and its parts, without packaging, which a broken environment may lack."""

from __future__ import annotations

import re
from functools import total_ordering

_PATTERN = re.compile(r"v?(\d+(?:\.\d+)*)(?:[._-]?(a|b|rc|dev)[._-]?(\d*))?")
_STAGES = ("dev", "a", "b", "rc", "")


@total_ordering
class Version:
    """A version with its pre-release stage: ``2.0a9 < 2.0b6 < 2.0 == 2.0.0``; what follows (``+local``) is ignored."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if ``text`` does not begin with a version."""
        match = _PATTERN.match(text)
        if match is None:
            raise ValueError(f"not a version: {text!r}")
        self.text = text
        self.release = tuple(int(part) for part in match[1].split("."))
        trimmed = list(self.release)
        while trimmed and trimmed[-1] == 0:
            trimmed.pop()
        self._key = (trimmed, _STAGES.index(match[2] or ""), int(match[3] or 0))

    @property
    def major(self) -> int:
        """The first number."""
        return self.release[0]

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Version, str)) and self._key == _version(other)._key

    def __lt__(self, other: Version | str) -> bool:
        return self._key < _version(other)._key

    def __hash__(self) -> int:
        return hash(str(self._key))


def _version(value: Version | str) -> Version:
    return value if isinstance(value, Version) else Version(value)


def within(version: Version, specifiers: str) -> bool:
    """Whether ``version`` keeps the comma-separated ``specifiers`` (``>=3.6,<3.7``, ``!=2.9``, ``==3.6.*``).

    A pre-release counts as the release that it leads to, so that 3.7.0rc1 is not below 3.7.
    """
    release = Version(".".join(map(str, version.release)))
    return all(_keeps(release, text.strip()) for text in specifiers.split(",") if text.strip())


def _keeps(version: Version, specifier: str) -> bool:
    match = re.fullmatch(r"(==|!=|<=|>=|<|>)\s*([\d.]+?)(\.\*)?", specifier)
    if match is None:
        raise ValueError(f"not a specifier: {specifier!r}")
    operator, other = match[1], Version(match[2])
    if match[3]:
        padded = (*version.release, *[0] * len(other.release))[: len(other.release)]
        return (padded == other.release) == (operator == "==")
    return {
        "==": version == other,
        "!=": version != other,
        "<": version < other,
        "<=": version <= other,
        ">": version > other,
        ">=": version >= other,
    }[operator]
