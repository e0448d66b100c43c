"""Verify an installed prefix from inside: what ``prefect-env info`` says in an activated shell."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError


def in_activated_shell(prefix: Path, command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` (one line of shell) in a shell that has activated ``prefix`` the way a user does."""
    if os.name == "nt":
        words = ["cmd", "/d", "/s", "/c", f'"call "{prefix / "activate.bat"}" && {command}"']
        return subprocess.run(" ".join(words), env=env, capture_output=True, text=True, check=False)
    words = ["sh", "-c", f". {shlex.quote(str(prefix / 'activate'))} && {command}"]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


def info(prefix: Path, env: dict[str, str]) -> dict[str, Any]:
    """What ``prefect-env info --json`` prints in the activated prefix. Raises ``command-failed``."""
    done = in_activated_shell(prefix, "prefect-env info --json", env)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ToolError(
            "command-failed",
            "prefect-env info gave no answer in the activated environment",
            where=str(prefix),
            why=(done.stderr or done.stdout).strip()[-800:],
            fix=f"look with: . {prefix / 'activate'} && prefect-env info",
        ) from error
    return answer
