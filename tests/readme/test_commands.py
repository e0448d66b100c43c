"""Every command of every README is run, or checked as far as its program can be had here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from maintain.lib.paths import ROOT
from support.commands import run, script
from support.pages import commands
from support.standin import standin

FOLDERS = ("envs", "recipe", "scripts", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
ELSEWHERE = {"pixi", "conda", "mamba", "micromamba", "conda-build", "rattler-build", "sudo", "pre-commit", "git"}
"""Programs that are the reader's; their commands are checked for the files that they name."""


ALL = [pytest.param(text, id=f"{page.relative_to(ROOT)}:{number}") for page in PAGES for number, text in commands(page)]


@pytest.mark.parametrize("text", ALL)
def test_command(text: str) -> None:
    """Our own commands know every option that is shown; files that others are given exist."""
    words = shlex.split(text, comments=True)
    if words[0] in ("python", "python3"):
        words = words[1:]
    for word in words[1:]:
        if re.match(r"(envs|recipe|scripts|tests)/[\w./-]+$", word):
            assert (ROOT / word).exists(), f"{word} does not exist"
    if words[0].startswith("scripts/"):
        name = words[0].removeprefix("scripts/")
        assert (ROOT / "scripts" / name).is_file()
        subcommands: list[str] = []
        text_of_help = script(name, "--help").stdout
        if "COMMAND [ARGS]" in text_of_help:
            subcommands = [words[1]]
            if not words[1].startswith("-"):
                text_of_help += script(name, *subcommands, "--help").stdout
        for word in words[1:]:
            if word.startswith("--") and name != "test":
                assert word.partition("=")[0] in text_of_help, f"{words[0]} has no option {word}"
        return
    assert words[0] in ELSEWHERE | {".", "prefect", "prefect-env", "cd", "export", "sh", "call"}, f"nobody runs: {text}"


@pytest.mark.slow
def test_install_without_pixi_as_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the README that needs nothing but Python, run as it stands in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_ENV_CHANNEL", str(standin("3")))
    block = [text for _, text in commands(ROOT / "README.md") if "~/prefect" in text and "--line" not in text]
    assert len(block) == 2
    done = run(["sh", "-ec", "\n".join([*block, "prefect version", "prefect-env info"])])
    assert str(tmp_path / "prefect") in done.stdout
