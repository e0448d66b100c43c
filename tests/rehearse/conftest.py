"""The host that a rehearsal needs."""

from __future__ import annotations

import pytest

from support.standin import standin


@pytest.fixture(scope="session")
def host() -> None:
    """Skips, with the reason, where no stand-in can be made: a rehearsal takes the same Debian packages and wheels."""
    standin()
