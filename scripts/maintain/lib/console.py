"""How every command talks: results on stdout, talk on stderr, one way to end.

A command is a click command whose callback is wrapped by :func:`tool`; it gets ``--json`` and ``--quiet``,
prints its result with :func:`emit` and lets :class:`ToolError` rise.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import from_oserror

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    out: Console
    err: Console
else:

    def __getattr__(name: str) -> Console:
        if name not in ("out", "err"):
            raise AttributeError(name)
        return _console(name)


class _Talk:
    quiet = False


@functools.cache
def _console(name: str) -> Console:
    """``out`` or ``err``, made at its first use: rich takes a tenth of a second, which few commands need."""
    from rich.console import Console

    return Console(stderr=name == "err", highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of talk on stderr, dropped by ``--quiet``; never markup, so paths with brackets stay whole."""
    if not _Talk.quiet:
        click.echo(text, err=True)


def emit(result: Any, text: Callable[[], None], *, as_json: bool) -> None:
    """Print a command's result: ``result`` as JSON, or whatever ``text`` writes to :data:`out`."""
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    else:
        text()


class Silent:
    """A progress display that shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_task(self, _description: str, **_: object) -> TaskID:
        """As rich's."""
        return cast("TaskID", 0)

    def advance(self, _task: TaskID, _steps: float = 1) -> None:
        """As rich's."""

    def update(self, _task: TaskID, **_: object) -> None:
        """As rich's."""


def progress() -> Progress | Silent:
    """A progress display on stderr, silent unless stderr is a terminal."""
    if _Talk.quiet or not sys.stderr.isatty():
        return Silent()
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=_console("err"), transient=True)


def tool(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` and ``--quiet`` to a click callback and apply them; pass ``as_json`` on."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
    @functools.wraps(function)
    def wrapper(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        _Talk.quiet = quiet
        try:
            return function(*args, as_json=as_json, **kwargs)
        except ToolError as error:
            report(error, as_json=as_json)
            raise click.exceptions.Exit(int(error.exit_code)) from error
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            failure = from_oserror(error, Path(error.filename or "."))
            report(failure, as_json=as_json)
            raise click.exceptions.Exit(int(failure.exit_code)) from error

    return wrapper


def report(error: ToolError, *, as_json: bool) -> None:
    """Print one error: what, where, why and the command that mends it."""
    if as_json:
        sys.stdout.write(json.dumps(error.as_dict(), indent=2, ensure_ascii=False) + "\n")
        return
    err = _console("err")
    err.print("[bold red]error:[/] ", end="")
    err.print(f"{error.what} [{error.id}]", markup=False)
    for label, value in (("where", error.where), ("why", error.why), ("fix", error.fix)):
        if value:
            err.print(f"  {label}: {value}", markup=False)


def main(command: click.Command) -> NoReturn:
    """Run ``command`` and end the process with its exit code.

    The process ends by ``os._exit`` after a flush: py-rattler 0.28 has been seen to abort in the
    interpreter's shutdown after all work was done (shared/facts/engines.md). The exit code is the command's own,
    and an exception that nobody expected still prints its traceback and exits 1.
    """
    code = int(Exit.DONE)
    try:
        # The entry point's own name, not python -m; taken out so that commands we start do not inherit it.
        value = command.main(prog_name=os.environ.pop("PREFECT_ENV_PROGRAM", None), standalone_mode=False)
        code = value if isinstance(value, int) else code
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        _console("err").print("interrupted", style="bold")
        code = Exit.INTERRUPTED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        _console("err").print_exception()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or int(Exit.CHECK_FAILED)
        os._exit(code)
