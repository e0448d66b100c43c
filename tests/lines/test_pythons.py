"""Trying a line on other Pythons says which step failed; a stub stands in for uv and what it installs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maintain.lib.errors import ToolError
from maintain.recipes.lines import Line, load_lines
from maintain.recipes.pythons import try_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stub is a shell script")

STUB = """\
#!/bin/sh
for last; do :; done
case "$1" in
venv) mkdir -p "$last/bin"; cp "$0.python" "$last/bin/python" ;;
*) echo "$@" > "$0.asked" ;;
esac
"""


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv whose Pythons fail what the file ``uv.python`` lets them fail."""
    stub = tmp_path / "uv"
    stub.write_text(STUB)
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return stub


def line() -> Line:
    return next(line for line in load_lines() if line.name == "2.8.6")


def python(uv: Path, body: str) -> None:
    path = uv.with_name("uv.python")
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_every_step_passes_and_the_bounds_are_asked_for(uv: Path) -> None:
    python(uv, "exit 0")
    assert try_line(line(), "3.9").failed == ""
    asked = uv.with_name("uv.asked").read_text().split()
    assert {"prefect==2.8.6", "pydantic<2", "anyio<4"} <= set(asked)


@pytest.mark.parametrize("step", ["pip check", "check_cli.py", "check_server.py"])
def test_the_step_that_failed_is_named_with_its_log(uv: Path, step: str) -> None:
    python(uv, f'case "$*" in *"{step}") echo broken >&2; exit 1 ;; esac')
    run = try_line(line(), "3.9")
    assert (run.failed, run.log) == (step, "broken")


def test_without_uv_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        try_line(line(), "3.9")
    assert caught.value.id == "missing-program"
