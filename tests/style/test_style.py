"""The tools that keep the code plain: ruff, mypy, shellcheck; and what may never be in the repository."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from maintain.lib.errors import ERRORS
from maintain.lib.paths import ROOT
from support.commands import run


def tracked(*patterns: str) -> list[str]:
    """Files of the clone that git tracks or would (untracked, not ignored)."""
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check", "--diff")], ids=["lint", "format"])
def test_ruff(arguments: tuple[str, ...]) -> None:
    run([sys.executable, "-m", "ruff", *arguments, "."])


def test_mypy() -> None:
    run([sys.executable, "-m", "mypy"])


def test_shellcheck() -> None:
    scripts = [name for name in tracked() if first_line(name).endswith(("sh", "dash")) or name.endswith(".sh")]
    assert scripts
    run(["shellcheck", *scripts])


def first_line(name: str) -> str:
    with (ROOT / name).open("rb") as stream:
        line = stream.readline(80).decode("utf-8", "replace").strip()
    return line if line.startswith("#!") else ""


def test_actions_are_pinned_by_commit() -> None:
    names = tracked(".github/workflows/*.yml")
    used = [
        line for name in names for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if "uses:" in line
    ]
    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


REGISTRIES = [
    r"py[p]i\.org", r"python[h]osted\.org", r"[d]ebian\.org", r"npm[j]s\.(org|com)", r"crates[.]io", r"maven[.]org",
]  # fmt: skip


def test_no_package_registry_is_named() -> None:
    found = subprocess.run(
        ["git", "grep", "-nIiE", "--untracked", "|".join(REGISTRIES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, f"package registries are named:\n{found.stdout}{found.stderr}"


def test_every_error_has_an_entry_on_the_errors_page() -> None:
    page = (ROOT / "scripts" / "ERRORS.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^## `([a-z-]+)`", page, re.MULTILINE))
    assert entries >= set(ERRORS)


def test_every_error_id_that_is_raised_is_known() -> None:
    raised = set()
    for name in tracked("scripts/maintain/**/*.py"):
        text = (ROOT / name).read_text(encoding="utf-8")
        raised |= set(re.findall(r"ToolError\(\s*\"([a-z-]+)\"", text))
    assert raised
    assert raised <= set(ERRORS)
