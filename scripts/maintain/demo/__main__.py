"""``scripts/demo``: set up, install, activate, verify and run a first flow."""

from __future__ import annotations

import os
import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from maintain.demo import verify
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib import server as servers
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import BUILD


@click.command(epilog="Example: scripts/demo --keep")
@click.option("--channel", metavar="URL|DIR", help="conda-forge, a mirror of it, or a stand-in [found].")
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    default=BUILD / "demo",
    help="Where to install [.build/demo in the clone].",
)
@click.option("--keep", is_flag=True, help="Leave the server running.")
@tool
def cli(channel: str | None, prefix: Path, keep: bool, as_json: bool) -> int:
    """Install Prefect, verify it, start a server of its own and run a flow of three tasks against it.

    Exit code 0: everything verified, and the server has recorded the flow with all its task runs.
    """
    choice = choose(channel, lines=(), environments=("default",))
    say(str(choice))
    say("installing the environment 'default' ...")
    installed = install(prefix, choice)
    prefix = Path(installed.prefix)
    say(f"{'installed' if installed.changed else 'up to date'}: {installed.packages} packages in {prefix}")

    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="prefect-env-demo-", ignore_cleanup_errors=True))
        )
        facts = verify.info(prefix, servers.environment(prefix, scratch / "info"))
        if not as_json:
            out.print(_verification(facts))
        home = BUILD / "demo-home" if keep else scratch / "home"
        say("starting a server ...")
        server = servers.start(prefix, home)
        try:
            run = _first_flow(server)
        except BaseException:
            server.kill()
            raise
        if keep:
            run["pid"] = server.process.pid
        else:
            run["stopped"] = server.stop()
    result = {"channel": choice.channel, "prefix": str(prefix), "info": facts, "run": run}
    emit(result, lambda: _show(run, prefix, keep), as_json=as_json)
    good = facts["ok"] and run["task_runs"] == servers.TASKS and run.get("stopped", True)
    return int(Exit.DONE if good else Exit.CHECK_FAILED)


def _first_flow(server: servers.Server) -> dict[str, Any]:
    """Run the flow against ``server`` and ask it what it recorded. Raises ``command-failed``."""
    say(f"running a flow of {servers.TASKS} tasks against {server.url} ...")
    before = {kind: server.count(kind) for kind in ("flow_runs", "task_runs")}  # of a demo that was kept
    done = server.run_flow()
    if done.returncode != 0:
        raise ToolError(
            "command-failed",
            "the first flow failed",
            where=str(servers.FLOW),
            why=(done.stdout + done.stderr).strip()[-1500:],
        )
    task_runs = server.wait_for_task_runs(before["task_runs"] + servers.TASKS) - before["task_runs"]
    (flow_run,) = server.get("/flow_runs/filter", {"limit": 1, "sort": "EXPECTED_START_TIME_DESC"})
    return {
        "name": flow_run["name"],
        "state": flow_run["state_name"],
        "printed": done.stdout.strip().splitlines()[-1:],
        "flow_runs": server.count("flow_runs") - before["flow_runs"],
        "task_runs": task_runs,
        "url": server.url,
    }


def _verification(facts: dict[str, Any]) -> Table:
    table = Table("", "value", "ok", title="Verified in the activated environment", title_justify="left")
    fields = dict(facts["prefect"])
    error = fields.pop("error", None)
    for name, value in fields.items():
        table.add_row(name, "unknown" if value is None else str(value), "ok")
    for part in facts["components"]:
        table.add_row(part["name"], f"{part['version']}  {part['path']}", "ok" if part["ok"] else "NOT OK")
    if error:
        table.add_row("Error", error, "NOT OK")
    return table


def _show(run: dict[str, Any], prefix: Path, keep: bool) -> None:
    out.print(
        f"flow run '{run['name']}': {run['state']}, {run['task_runs']} of {servers.TASKS} task runs on the server"
    )
    if keep:
        out.print(f"the server is still running: {run['url']}  (stop it: kill {run['pid']})", markup=False)
    else:
        out.print(
            f"the UI was at {run['url']}; the server has stopped{'' if run['stopped'] else ' (it had to be killed)'}"
        )
    activate = f'call "{prefix / "activate.bat"}"' if os.name == "nt" else f". {shlex.quote(str(prefix / 'activate'))}"
    out.print("\nGo on:", markup=False)
    for line in (activate, "prefect server start", "prefect-env info", "scripts/install --help"):
        out.print(f"  {line}", markup=False)


if __name__ == "__main__":
    main(cli)
