"""One prefix with line 3's packages of the stand-in, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintain.channel.check import install_line
from support.standin import standin


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_line("3", standin("3"), tmp_path_factory.mktemp("standin") / "prefix")
