"""The tiny channel, and a project that is locked from it, as fixtures; a folder's conftest imports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintain.lock.plan import Update
from maintain.lock.relock import relock
from support import tiny_channel


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tiny_channel.write_records(tmp_path / "records")


@pytest.fixture
def project(tmp_path: Path, records: Path) -> Path:
    root = tiny_channel.write_project(tmp_path / "project")
    relock(root, records, Update())
    return root
