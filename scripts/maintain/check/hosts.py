"""Which hosts the repository's files name: only those of hosts.txt.

A list of what is allowed, because a list of the registries that are not would name them itself.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from maintain.check.finding import Finding

LIST = Path(__file__).with_name("hosts.txt")
GENERATED = ("pixi.lock", "envs/")
"""Their addresses are checked package by package."""
# Registries live below these; other endings would match attributes in code (config.io, self.dev).
_HOST = re.compile(r"(?<![\w@.-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:org|com|net)(?![\w-]|\.[a-z])", re.IGNORECASE)
_RESERVED = re.compile(r"(^|\.)example\.(org|com|net)$")


def findings(root: Path) -> Iterator[Finding]:
    """Every host in a text file below ``root`` (what git has or would add) that the list does not have."""
    allowed = {line for line in LIST.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")}
    for path in _files(root):
        if path.startswith(GENERATED) or not (root / path).is_file():
            continue
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for host in _HOST.findall(line.lower()):
                if host not in allowed and not _RESERVED.search(host):
                    what = f"{host} is not among the hosts this repository may name"
                    fix = f"take it out, or add it to {LIST.name} if it serves no packages of Python, Debian or npm"
                    yield Finding("hosts", f"{path}:{number}", what, fix)


def _files(root: Path) -> list[str]:
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return sorted(set(filter(None, listed.stdout.split("\0"))))
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
