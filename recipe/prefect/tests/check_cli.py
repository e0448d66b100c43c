"""Every group of Prefect's command answers --help; all in one process, because each start costs seconds."""

import contextlib
import io
import re
import sys

try:
    from prefect.cli import app
except ImportError:  # Prefect 1, whose help hides what is deprecated
    from prefect.cli import cli as app


def help_of(*words):
    """What ``prefect WORDS --help`` prints; anything but a clean end stops the check."""
    text = io.StringIO()
    code = 0
    sys.argv = ["prefect", *words, "--help"]
    with contextlib.redirect_stdout(text):
        try:
            app()
        except SystemExit as stop:
            code = stop.code or 0
    if code:
        raise SystemExit(f"prefect {' '.join(words)} --help ended with {code}: {text.getvalue()}")
    return text.getvalue()


# A command stands at the beginning of a line of a panel, its other name in brackets behind it.
NAME = re.compile(r"^│ ([a-z][a-z-]+)(?: \([a-z-]+\))?\s{2,}\S", re.M)
# Commands, not groups: in 3.8 and 3.9 Prefect itself refuses their --help.
COMMANDS = {"help", "init", "version"}

groups = sorted(set(getattr(app, "commands", ()) or NAME.findall(help_of())) - COMMANDS)
expected = (
    {"agent", "run", "server"}
    if hasattr(app, "commands")
    else {"config", "deployment", "flow-run", "profile", "server"}
)
assert expected <= set(groups), groups  # noqa: S101
for group in groups:
    assert help_of(group).strip(), group  # noqa: S101
print(len(groups), "groups:", *groups)  # noqa: T201
