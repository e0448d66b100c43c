"""``scripts/test``: install what the tests need, run them, sum up."""

from __future__ import annotations

import os
import subprocess
import sys

import click
from rich.console import Console

from maintain.lib.console import main
from maintain.lib.paths import BUILD, ROOT
from maintain.testing import packages, summary

JOBS = str((os.cpu_count() or 1) + 1)
"""One more than there are cores: a third of the time tests wait, for servers and for commands that are killed."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--quick", is_flag=True, help="Leave out the tests marked slow.")
@click.option("--no-apt", is_flag=True, help="Install no Debian packages; tests that lack one are skipped.")
@click.option("--jobs", "-j", default=JOBS, show_default=True, help="How many test files run at once.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def cli(quick: bool, no_apt: bool, jobs: str, arguments: tuple[str, ...]) -> int:
    """Run all tests; what a shell or server is missing for is reported as skipped.

    ARGUMENTS go to pytest, for example: scripts/test tests/install -k truncated
    """
    if not no_apt:
        packages.install()
    BUILD.mkdir(exist_ok=True)
    report = BUILD / "tests.xml"
    report.unlink(missing_ok=True)
    spread = ["-n", jobs, "--dist", "loadfile", "--no-loadscope-reorder"]  # in the order of tests/conftest.py
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *spread]
    if quick:
        command += ["-m", "not slow"]
    code = subprocess.call([*command, *arguments], cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    if report.exists():
        Console(width=120, highlight=False).print(summary.table(report))
    return code


if __name__ == "__main__":
    main(cli)
