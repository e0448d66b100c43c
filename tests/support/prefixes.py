"""Installed prefixes of the lines, one for each per machine, shared by all tests that need a real Prefect."""

from __future__ import annotations

from pathlib import Path

from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib.paths import BUILD
from support.standin import standin


def line_prefix(line: str) -> Path:
    """The prefix with ``line`` from the stand-in, up to date; read it only. Skips where no stand-in can be made.

    Installing what is there already takes a second, and two test processes wait for each other.
    """
    target = BUILD / "test-prefixes" / line
    channel = standin(line)
    install(target, choose(str(channel)), line=line, wait=300)
    return target
