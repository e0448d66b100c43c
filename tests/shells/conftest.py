"""What the files of this folder share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from shells import wine


@pytest.fixture(scope="session", name="wine_starts")
def _wine_starts() -> Iterator[None]:
    """Skip where wine cannot run; its prefix is made here, and one cmd.exe idles, so that the next start at once."""
    if shutil.which("wine") is None:
        pytest.skip("wine is not installed")
    command = ["wine", "cmd", "/c", "ver"]
    done = subprocess.run(command, env=wine.ENVIRONMENT, capture_output=True, timeout=240, check=False)
    if b"Windows" not in done.stdout:
        pytest.skip("wine does not start here")
    with subprocess.Popen(
        ["wine", "cmd"],
        env=wine.ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        yield
