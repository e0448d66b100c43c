"""What every test gets: a private home, and none of the caller's settings that would change what it sees."""

from __future__ import annotations

import os

import hypothesis
import pytest

from maintain.lib.paths import cache_dir

LEAKS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
"""Caller's variables that every test starts without, in both cases. CA variables stay: a machine behind an
intercepting proxy needs them to reach its index; the tests of trust clear them themselves."""

CACHE = cache_dir()
"""Downloads and tool environments are verified and keyed by content, so tests share the caller's."""

hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")  # a red run can be repeated; new examples: --hypothesis-profile=default


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: each file is one worker's, and the last one should not keep the others waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the caller's home, configuration or Prefect settings."""
    for name in os.environ:
        if name.startswith(("PREFECT_", "CONDA_", "PIXI_")) or name.upper() in LEAKS:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    folders = {
        "HOME": home,
        "USERPROFILE": home,
        "APPDATA": home / "AppData" / "Roaming",
        "LOCALAPPDATA": home / "AppData" / "Local",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
    }
    for name, folder in folders.items():
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(CACHE))
    monkeypatch.setenv("NO_COLOR", "1")
