"""The host that a rehearsal needs, and a small lock with Prefect in it."""

from __future__ import annotations

import pytest

from maintain.channel.debian import require_host
from maintain.lib.errors import ToolError


@pytest.fixture
def host() -> None:
    """Skips where no stand-in can be made."""
    try:
        require_host()
    except ToolError as error:
        pytest.skip(f"{error.what}: {error.why}")
