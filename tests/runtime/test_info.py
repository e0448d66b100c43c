"""`prefect-env info` where Prefect is missing, broken or silent; with a working Prefect: tests/lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maintain.lib.paths import RUNTIME
from prefect_env import info, libraries
from support.commands import Done, run


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A virtual environment that sees this one's click, with room for a Prefect that the test writes."""
    run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "prefix"])
    site = next((tmp_path / "prefix").glob("lib/python*/site-packages"))
    import click

    (site / "parts.pth").write_text(f"{RUNTIME}\n{Path(click.__file__).parents[1]}\n")
    return tmp_path / "prefix"


def fake_prefect(prefix: Path, code: str) -> None:
    site = next(prefix.glob("lib/python*/site-packages"))
    for path, text in {
        "prefect/__init__.py": code,
        "prefect/context.py": "",
        "prefect/settings.py": "",
        "prefect/_build_info.py": '__build_date__ = "2026-10-06 16:33:07.652121+00:00"\n'
        '__git_commit__ = "b73b09dc36"\n',
        "prefect/client/constants.py": 'SERVER_API_VERSION = "0.8.4"\n',
        "prefect-3.9.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: prefect\nVersion: 3.9.1\n",
    }.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)


def shown(prefix: Path, home: Path, *options: str) -> Done:
    env = {"PATH": os.defpath, "HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
    return run([prefix / "bin" / "python", "-m", "prefect_env", "info", *options], env=env, code=1, cwd=home)


def test_prefect_is_not_installed(prefix: Path, tmp_path: Path) -> None:
    facts = json.loads(shown(prefix, tmp_path, "--json").stdout)
    assert not facts["ok"]
    assert "Prefect is not installed" in facts["prefect"]["error"]
    # A virtual environment has no libraries of its own, and that is what must be said.
    parts = {part["name"]: part for part in facts["components"]}
    assert set(parts) == {"Python", "SQLite", "OpenSSL"}
    assert not any(part["ok"] for part in parts.values())


def test_prefect_is_broken(prefix: Path, tmp_path: Path) -> None:
    fake_prefect(prefix, "raise ImportError(\"cannot import name 'SecretField' from 'pydantic'\")")
    facts = json.loads(shown(prefix, tmp_path, "--json").stdout)["prefect"]
    assert facts["error"] == "Prefect does not run: ImportError: cannot import name 'SecretField' from 'pydantic'"
    assert {key: facts[key] for key in ("Version", "API version", "Git commit", "Built")} == {
        "Version": "3.9.1",
        "API version": "0.8.4",
        "Git commit": "b73b09dc",
        "Built": "Tue, Oct 06, 2026 04:33 PM",
    }
    text = shown(prefix, tmp_path).stdout
    assert "NOT FROM THIS ENVIRONMENT" in text
    assert "SecretField" in text


def test_prefect_talks_instead_of_answering(prefix: Path, tmp_path: Path) -> None:
    fake_prefect(prefix, "print('hello'); raise SystemExit(0)")
    assert "no answer" in json.loads(shown(prefix, tmp_path, "--json").stdout)["prefect"]["error"]


def test_prefect_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "did not answer" in info._asked()["error"]


def test_the_probe_gets_a_home_of_its_own_and_the_users_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def look(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, '{"Profile": "x"}\n', "")

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(subprocess, "run", look)
    assert info._asked() == {"Profile": "x"}
    assert seen["PREFECT_PROFILES_PATH"] == str(tmp_path / "home" / "profiles.toml")
    assert not seen["PREFECT_HOME"].startswith(str(tmp_path))
    assert not Path(seen["PREFECT_HOME"]).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc/self/maps")
def test_libraries_are_those_that_the_kernel_has_mapped() -> None:
    found = libraries.components()[1:]  # which loads them, and so goes first
    mapped = {
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(".so") or ".so." in line
    }
    for part in found:
        assert part.path in {os.path.realpath(path) for path in mapped}


def test_a_symbol_that_is_not_there_has_no_path() -> None:
    import _sqlite3

    assert libraries.library_of(_sqlite3.__file__, "no_such_symbol", "none.dll") is None
    assert libraries.library_of("/nonexistent.so", "sqlite3_libversion", "none.dll") is None
