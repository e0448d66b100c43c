"""Run a command the strict way: the exit code is expected, and nothing unexpected may be said."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maintain.lib.paths import ROOT

TROUBLE = re.compile(r"^(Traceback \(most recent call last\)|WARNING\b|ERROR\b|.*DeprecationWarning)", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """A finished command: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str | Path],
    *,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 240,
    trouble: bool = False,
) -> Done:
    """Run ``command`` and assert its exit ``code``.

    ``env`` replaces the environment; stdin is empty. Lines that begin a traceback, warning or error fail
    the test unless ``trouble`` says that they are expected; a traceback never is, for an exit code other than 1.
    """
    done = subprocess.run(
        [str(part) for part in command],
        env=None if env is None else dict(env),
        cwd=cwd or ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    shown = f"{' '.join(map(str, command))}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {shown}"
    if not trouble:
        assert not TROUBLE.search(done.stderr), shown
    return Done(done.returncode, done.stdout, done.stderr)


def script(name: str, *arguments: str | Path, **options: object) -> Done:
    """Run ``scripts/NAME`` as a user does, through its entry point (:func:`run`'s options apply)."""
    return run([sys.executable, ROOT / "scripts" / name, *arguments], **options)  # type: ignore[arg-type]
