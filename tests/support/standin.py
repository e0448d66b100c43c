"""The stand-in channel, built once for all tests that install for real."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from maintain.channel.build import OUTPUT, build_channel
from maintain.lib.errors import ToolError


@cache
def standin(*lines: str) -> Path:
    """The channel folder with at least ``lines`` (line 3 without any) and the environment ``default``.

    Skips where a stand-in cannot be made.

    Made once: the first caller builds; others, in any process, wait for it and find it up to date.
    """
    try:
        return build_channel(lines or ("3",), OUTPUT, environments=("default",))
    except ToolError as error:
        if error.id == "unsupported-host":
            pytest.skip(f"{error.what}: {error.why}")
        raise
