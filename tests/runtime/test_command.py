"""The prefect-env command: starts without loading what it does not use, and says errors in one form."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maintain.lib.paths import RUNTIME
from prefect_env import cli, console
from prefect_env.console import EXITS, CommandError
from support.commands import run

PACKAGE = RUNTIME / "prefect_env"
MODULES = 300
"""How many modules `prefect-env --help` may load: Python and click need about 200, Prefect alone 2,000."""


def loaded(*arguments: str, tmp_path: Path) -> set[str]:
    """The modules that ``prefect-env ARGUMENTS`` has loaded when it ends."""
    report = tmp_path / "modules"
    code = (
        "import atexit, pathlib, sys\n"
        f"atexit.register(lambda: pathlib.Path({str(report)!r}).write_text('\\n'.join(sys.modules)))\n"
        f"sys.argv = {['prefect-env', *arguments]!r}\n"
        "from prefect_env.cli import main\n"
        "main()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(RUNTIME)}
    run([sys.executable, "-c", code], env=env)
    return set(report.read_text().split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_it_starts_light(option: str, tmp_path: Path) -> None:
    modules = loaded(option, tmp_path=tmp_path)
    assert len(modules) <= MODULES
    heavy = {"rich", "cryptography", "ssl", "sqlite3", "asyncio", "prefect", "httpx", "ctypes"}
    assert not heavy & modules
    assert {name for name in modules if name.startswith("prefect_env.")} == {"prefect_env.cli", "prefect_env.console"}


def test_every_command_of_the_table_is_there_and_is_listed() -> None:
    shown = CliRunner().invoke(cli.cli, ["--help"]).output
    for name, (_, line) in cli.COMMANDS.items():
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        assert (f"  {name} " in shown) == bool(line)
        assert CliRunner().invoke(cli.cli, [name, "--help"]).exit_code == 0


def test_unknown_commands_and_options_are_usage_errors() -> None:
    for arguments in (["nonsense"], ["info", "--nonsense"]):
        done = subprocess.run(
            [sys.executable, "-m", "prefect_env", *arguments],
            env={**os.environ, "PYTHONPATH": str(RUNTIME)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert "No such" in done.stderr


def test_nothing_of_prefect_is_needed_to_import_it() -> None:
    """Prefect may be asked in functions, for example in a process of their own; the modules load without it."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9)).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not [name for name in names if name.partition(".")[0] in ("prefect", "maintain")], file


@click.command()
@console.command
def fails(as_json: bool) -> None:
    console.say("trying http://me:secret@proxy:3128")
    raise CommandError("network", "no answer", where="http://me:secret@proxy:3128/x", fix="ask")


def test_an_error_says_what_where_and_fix_and_hides_secrets() -> None:
    done = CliRunner().invoke(fails, [])
    assert done.exit_code == EXITS["network"] == 3
    assert done.stderr == (
        "trying http://***@proxy:3128\nerror: no answer [network]\n  where: http://***@proxy:3128/x\n  fix: ask\n"
    )
    assert CliRunner().invoke(fails, ["--quiet"]).stderr.startswith("error: ")


def test_an_error_as_json() -> None:
    done = CliRunner().invoke(fails, ["--json"])
    shown = json.loads(done.stdout)
    assert shown["error"] == "network"
    assert shown["exit_code"] == 3
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://user:pass@host/", "http://***@host/"),
        ("a http://u:p%40x@h and https://t@g", "a http://***@h and https://***@g"),
        ("http://host/a@b", "http://host/a@b"),
        ("nothing", "nothing"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert console.mask(text) == masked
