"""One trial of a Prefect 3 against a server that is running: run by the Python on trial, JSON lines on stdout.

Each line is ``{"step", "ok", "found"}``. The folder of this file is the source of the deployment. Nothing of the
clone's tools is imported: this runs where only the packages on trial are.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OUT = sys.stdout
HERE = Path(__file__).resolve().parent
SECONDS = 90
"""How long is waited for anything that the server or a worker does later."""
POOL = "trial"


def main(wanted: list[str]) -> None:
    """The steps ``wanted``, all without any; a step that fails does not keep the next ones from being tried."""
    for name, run in STEPS.items():
        if not wanted or name in wanted:
            attempt(name, run)


def attempt(name: str, run: Callable[[], str]) -> None:
    """Say what a step found, or the exception that ended it and where."""
    try:
        found, ok = run(), True
    except (Exception, SystemExit) as error:
        last = " <- ".join(said(one) for one in causes(error))
        at = traceback.extract_tb(error.__traceback__)[-1]
        found, ok = f"{last} ({at.filename}:{at.lineno})", False
    OUT.write(json.dumps({"step": name, "ok": ok, "found": found[:1500]}) + "\n")
    OUT.flush()


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it, the last one first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def said(error: BaseException) -> str:
    """An exception's own line."""
    return traceback.format_exception_only(type(error), error)[-1].strip()


def must(condition: object, what: str) -> None:
    """A check that ends its step with ``what``."""
    if not condition:
        raise RuntimeError(what)


def until(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer of ``ask``."""
    deadline = time.monotonic() + SECONDS
    while not (answer := ask()):
        must(time.monotonic() < deadline, f"not within {SECONDS} s: {what}")
        time.sleep(0.2)
    return answer


def flow() -> str:
    """Run the flow here; the server has to have recorded all of it."""
    import flows
    from prefect import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterKey,
        FlowFilter,
        FlowFilterName,
        LogFilter,
        LogFilterFlowRunId,
    )

    names = FlowFilter(name=FlowFilterName(any_=["trial", "summed"]))
    with get_client(sync_client=True) as client:
        before = {run.id for run in client.read_flow_runs(flow_filter=names)}  # an older Prefect's, once upgraded
        found = flows.trial()
        must(found == flows.RESULT, f"the flow returned {found}, not {flows.RESULT}")

        def completed() -> bool:
            tasks = [run for run in client.read_task_runs(flow_filter=names) if run.flow_run_id not in before]
            return [run.state_name for run in tasks] == ["Completed"] * flows.TASK_RUNS

        until(completed, f"{flows.TASK_RUNS} completed task runs on the server")
        runs = [run for run in client.read_flow_runs(flow_filter=names) if run.id not in before]
        must(len(runs) == 2, f"{len(runs)} flow runs on the server, not the flow's and the subflow's")
        for key in ("trial-text", "trial-table"):
            kept = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
            must(kept, f"no artifact {key} on the server")
        own = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id for run in runs]))
        until(
            lambda: any(flows.WORDS[-1] in log.message for log in client.read_logs(log_filter=own)),
            "the log on the server, with its letters that are no ASCII",
        )
    return f"{flows.TASK_RUNS} task runs, a subflow, a retry, 2 artifacts and the log are on the server"


def worker() -> str:
    """A deployment run by a worker in a process of its own: once asked for, once by an automation."""
    from prefect import flow as any_flow
    from prefect import get_client
    from prefect.automations import Automation, EventTrigger
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.deployments import run_deployment
    from prefect.events.actions import RunDeployment

    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    log = Path(os.environ["PREFECT_HOME"], "worker.log")
    with get_client(sync_client=True) as client, log.open("ab") as stream:
        eager = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}  # it asks every ten seconds otherwise
        process = subprocess.Popen(command, env=eager, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        try:
            until(lambda: process.poll() is not None or pool_is_there(client), f"the worker's pool; see {log}")
            must(process.poll() is None, f"the worker ended with {process.poll()}: {end_of(log)}")
            source = any_flow.from_source(source=str(HERE), entrypoint="flows.py:answer")
            with contextlib.redirect_stdout(sys.stderr):
                deployment = source.deploy("trial", work_pool_name=POOL, print_next_steps=False, ignore_warnings=True)
            first = run_deployment(deployment, parameters={"question": "by hand"}, timeout=SECONDS, poll_interval=0.3)
            must(first.state.name == "Completed", f"the worker's run is {first.state.name}: {end_of(log)}")
            Automation(
                name="trial",
                trigger=EventTrigger(expect={"trial.asked"}, posture="Reactive", threshold=1),
                actions=[RunDeployment(deployment_id=deployment, parameters={"question": "by an automation"})],
            ).create()
            asked = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))

            def second() -> Any:
                # An event that comes before the server has taken note of the automation fires nothing.
                announce("trial.asked")
                time.sleep(1)
                runs = client.read_flow_runs(deployment_filter=asked)
                return any(run.parameters.get("question") == "by an automation" for run in runs)

            until(second, "a run that the automation asked for")

            def both() -> bool:
                runs = client.read_flow_runs(deployment_filter=asked)
                return {run.parameters["question"] for run in runs if run.state_name == "Completed"} == {
                    "by hand",
                    "by an automation",
                }

            until(both, "the automation's run, completed by the worker")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
    return "2 runs of a deployment by a process worker, the second asked for by an automation"


def end_of(log: Path) -> str:
    """The last lines of a log, in the encoding that children write here (``PYTHONIOENCODING``)."""
    return log.read_text(encoding="utf-8", errors="replace")[-800:]


def pool_is_there(client: Any) -> bool:
    """Whether the worker has made its pool."""
    return any(pool.name == POOL for pool in client.read_work_pools())


def announce(event: str) -> None:
    """Send an event to the server by the same way as a client does: the websocket."""
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    emit_event(event, resource={"prefect.resource.id": "trial"})
    EventsWorker.instance().drain()


def listed() -> str:
    """Commands that ask the server, each as a user would: it must answer and say no error."""
    from prefect.cli import app

    found = []
    for words in LISTS:
        sys.argv = ["prefect", *words]
        code: str | int | None = 0
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                app()
        except SystemExit as stop:
            code = stop.code
        must(not code, f"prefect {' '.join(words)} ended with {code}")
        found.append(" ".join(words))
    return ", ".join(found)


LISTS = (
    ("version",),
    ("flow", "ls"),
    ("flow-run", "ls"),
    ("deployment", "ls"),
    ("work-pool", "ls"),
    ("work-queue", "ls"),
    ("artifact", "ls"),
    ("automation", "ls"),
    ("block", "ls"),
    ("block", "type", "ls"),
    ("variable", "ls"),
    ("concurrency-limit", "ls"),
    ("gcl", "ls"),
    ("profile", "ls"),
    ("config", "view"),
    ("task-run", "ls"),
)

STEPS: dict[str, Callable[[], str]] = {"flow": flow, "worker": worker, "commands": listed}

if __name__ == "__main__":
    main(sys.argv[1:])
