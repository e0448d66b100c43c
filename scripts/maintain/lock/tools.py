"""Pin the requirements of the tool environments (scripts/maintain/requirements) with uv."""

from __future__ import annotations

import os
import shutil
import subprocess

from maintain.bootstrap import REQUIREMENTS, uv_settings
from maintain.lib.errors import ToolError

COMMAND = "scripts/lock --tools"


def compile_requirements() -> list[str]:
    """Compile every ``NAME.in`` to ``NAME.txt`` with hashes, for all platforms; return the files that changed."""
    uv = shutil.which("uv")
    if uv is None:
        raise ToolError("missing-program", "uv is not on PATH", fix="install uv, for example: pixi global install uv")
    changed = []
    for source in sorted(REQUIREMENTS.glob("*.in")):
        target = source.with_suffix(".txt")
        before = target.read_bytes() if target.exists() else b""
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += [
            "--no-emit-index-url",
            "--no-annotate",
            "--custom-compile-command",
            COMMAND,
            source.name,
            "-o",
            target.name,
        ]
        done = subprocess.run(
            command, cwd=REQUIREMENTS, env=uv_settings(dict(os.environ)), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolError("command-failed", f"uv could not pin {source.name}", why=done.stderr.strip())
        if target.read_bytes() != before:
            changed.append(target.name)
    return changed
