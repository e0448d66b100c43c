"""The ``prefect-env`` command: a table of subcommands, each imported when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from prefect_env.console import INTERRUPTED

COMMANDS: dict[str, tuple[str, str]] = {
    "db": ("prefect_env.db.command:db", "Look at Prefect's database, back it up, move it between versions."),
    "doctor": ("prefect_env.doctor.command:doctor", "Find what is wrong with the environment, its host and database."),
    "info": ("prefect_env.info:info", "Show versions, and where SQLite, OpenSSL and Python are loaded from."),
    "proxy": ("prefect_env.proxy:proxy", "Set, show and test the proxy."),
    "show": ("prefect_env.show:show", "Show what activation sets, and the file and line it comes from."),
    "support": ("prefect_env.doctor.support:support", "Write a bundle for support, without secrets."),
    "trust": ("prefect_env.trust:trust", "Add, list, remove and check certificate authorities."),
    "upgrade": ("prefect_env.upgrade.command:upgrade", "Move to another environment and its database, or go back."),
}
"""Name -> (``module:function`` of a click command, its line of help). Without a line it is not listed."""


class Lazy(click.Group):
    """A group that lists its commands from :data:`COMMANDS` and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names that ``--help`` and the shell's completion show."""
        return sorted(name for name, (_, line) in COMMANDS.items() if line)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), function)
        assert isinstance(found, click.Command)  # noqa: S101 - a typo in the table
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def version() -> str:
    """The version of the installed package; ``development`` in a clone."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("prefect-env-runtime")
    except PackageNotFoundError:
        return "development"


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"prefect-env {version()}")
        ctx.exit()


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def cli() -> None:
    """Settings of this environment, and what it is made of.

    \b
    Example:
      prefect-env info
    """


def main() -> NoReturn:
    """Run the command and end the process with its exit code."""
    try:
        code = cli.main(prog_name="prefect-env", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
