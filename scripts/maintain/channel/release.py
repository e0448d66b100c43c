"""The Debian releases that a stand-in can be made from, and what each decides: Python, wheels, glibc."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache

from packaging.tags import Tag, compatible_tags, cpython_tags

from maintain.lib.errors import ToolError


@dataclass(frozen=True)
class Release:
    """A Debian release: its name and number, its Python (``3.11`` and ``3.11.2``), its glibc's minor version."""

    name: str
    debian: int
    python: str
    python_full: str
    glibc: int

    @property
    def tag(self) -> str:
        """The interpreter in wheels' names: ``cp311``."""
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> list[str]:
        """Wheel platforms that run on it, the newest first."""
        modern = [f"manylinux_2_{minor}_x86_64" for minor in range(self.glibc, 4, -1)]
        return modern + [f"manylinux{year}_x86_64" for year in ("2014", "2010", "1")]

    @property
    def markers(self) -> dict[str, str]:
        """The environment in which requirements' markers are evaluated: its Python on x86_64."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python_full,
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python_full,
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def __str__(self) -> str:
        return f"Debian {self.debian} ({self.name}, Python {self.python})"


BOOKWORM = Release("bookworm", 12, "3.11", "3.11.2", 36)
TRIXIE = Release("trixie", 13, "3.13", "3.13.5", 41)
RELEASES = {release.name: release for release in (BOOKWORM, TRIXIE)}


@cache
def of_host() -> Release:
    """This machine's release; on a machine that is neither, bookworm, whose glibc is the older."""
    try:
        name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        name = ""
    return RELEASES.get(name, BOOKWORM)


def named(name: str | None) -> Release:
    """The release ``name``, the host's without one; raises ``bad-usage``."""
    if name is None:
        return of_host()
    if name not in RELEASES:
        raise ToolError("bad-usage", f"there is no release {name!r}", why=f"known: {', '.join(RELEASES)}")
    return RELEASES[name]


@cache
def tags(release: Release) -> frozenset[Tag]:
    """The tags of wheels that run on ``release``."""
    version = tuple(map(int, release.python.split(".")))
    own = cpython_tags(version, [release.tag], release.platforms)
    return frozenset([*own, *compatible_tags(version, release.tag, release.platforms)])
