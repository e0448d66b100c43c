"""Try an environment for real: its server, a flow with all that flows have, a worker, every command, an upgrade.

The steps that need the packages on trial are the files of ``inside/``, run by the environment's own Python.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

from maintain.lib import server as servers
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES
from maintain.rehearse import services

TROUBLE = re.compile(r"TimeoutError: Timeout reading|Service '\w+' failed with")
"""What a server's log says of events that are lost while every request is answered."""

HERE = Path(__file__).parent / "inside"
CHECK_CLI = RECIPES / "prefect" / "tests" / "check_cli.py"
PATIENCE = 3.0
"""Seconds that a server may answer errors with a traceback in its log."""
LISTEN = 20.0
"""Seconds in which a server whose Redis client does not fit says so: every five to ten, as it was seen."""
BRIEFLY = 10.0
"""Seconds in which a server ends that minds being asked: one to two, as it was seen."""

MESSAGING = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
}
"""Prefect's settings for events over Redis: docs/v3/advanced/self-hosted.mdx of PrefectHQ/prefect."""


@dataclass(frozen=True)
class Step:
    """One thing that was tried, whether it went well, and what was seen."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Subject:
    """An environment on trial and where it runs."""

    prefix: Path
    prefect: str
    """Its version."""
    scratch: Path
    """A folder for its homes, logs and databases."""
    inside: servers.Inside = list
    redis: bool = False
    """Whether its events can go through Redis: prefect-redis is beside it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    postgresql: Path | None = None
    """The folder of the PostgreSQL programs to take; Debian's without."""

    @property
    def modern(self) -> bool:
        """Whether it is a Prefect 3, which has what ``inside/`` tries."""
        return int(self.prefect.partition(".")[0]) >= 3


def alive(subject: Subject, database: str = "sqlite", wanted: str = "flow") -> Iterator[Step]:
    """The shortest trial that tells a dead set: the server serves, and has recorded a flow with its tasks.

    It ends with the step ``wanted``: ``server``, ``flow``, ``stop`` or ``log``.
    """
    with ExitStack() as stack:
        step, server = _served(subject, stack, database)
        yield step
        if server is None or wanted == "server":
            return
        yield from _lines(server, "flow") if subject.modern else [_first_flow(server)]
        if wanted == "log":
            yield _quiet(server, LISTEN)
        elif wanted == "stop":
            yield _stopped(server, BRIEFLY)


def whole(subject: Subject, database: str, former: Path | None = None) -> Iterator[Step]:
    """The whole trial on ``database``, ``sqlite`` or ``postgresql``; every step that can be tried is.

    ``former`` is a SQLite database that an older Prefect left, which has to be upgraded.
    """
    with ExitStack() as stack:
        if former:
            home = subject.scratch / database
            home.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(former, home / "prefect.db")
        step, server = _served(subject, stack, database)
        yield step
        if server is None:
            return
        if former:
            yield _kept(server, former)
        if subject.modern:
            yield from _lines(server)
        else:
            yield _first_flow(server)
        yield _stopped(server)
        if database == "postgresql":  # services on a fresh SQLite may fail once before the migrations end
            yield _quiet(server)


def until(
    subject: Subject, wanted: str, database: str, pip: Path | None = None, former: Path | None = None
) -> Iterator[Step]:
    """The steps that lead to ``wanted``, for a bisection: as few as tell whether that one fails again.

    ``pip check`` needs ``pip``'s wheel for it, and ``upgrade`` the ``former`` database.
    """
    if wanted in STANDING:
        yield from standing(subject, pip)
    elif wanted in ("server", "flow", "stop", "log") and former is None:
        yield from alive(subject, database, wanted)
    else:
        yield from whole(subject, database, former)


def failure(
    subject: Subject, wanted: str, database: str, pip: Path | None = None, former: Path | None = None
) -> Step | None:
    """The first step that goes wrong on the way to ``wanted`` (:func:`until`), None if none does."""
    return next((step for step in until(subject, wanted, database, pip, former) if not step.ok), None)


STANDING = ("pip check", "command groups")
"""The steps that need no server."""


def standing(subject: Subject, pip: Path | None, left_out: Collection[str] = ()) -> Iterator[Step]:
    """What needs no server: ``pip check`` by ``pip``'s wheel, but for what is ``left_out``; the commands' help."""
    if subject.prefect:
        yield _step("command groups", _run(subject, "python", CHECK_CLI))
    if pip is None:
        return
    done = _run(subject, "python", "-m", "pip", "check", extra={"PYTHONPATH": str(pip)})
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()[-6:]
    wrong = [line for line in lines if done.returncode and not _of(line, left_out)]
    yield Step("pip check", not wrong, "\n".join(wrong or lines[-3:]))


def programs(subject: Subject, requested: Collection[str]) -> Iterator[Step]:
    """Every program of the packages ``requested`` starts and says its version, or its help."""
    done = _run(subject, "python", HERE / "programs.py", *requested)
    yield _step("programs", done)


def _run(subject: Subject, *words: str | Path, extra: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    env = servers.environment(subject.prefix, subject.scratch / "home") | dict(subject.settings) | dict(extra or {})
    return servers.run(subject.prefix, *words, env=env, inside=subject.inside)


def _step(name: str, done: CompletedProcess[str]) -> Step:
    said = [*done.stdout.strip().splitlines()[-6:], *(done.stderr.strip().splitlines()[-6:] if done.returncode else ())]
    return Step(name, done.returncode == 0, "\n".join(said))


def _of(complaint: str, left_out: Collection[str]) -> bool:
    """Whether a line of ``pip check`` is about a package that nothing stands for."""
    return any(
        re.search(rf" requires {re.escape(name)}, which is not installed", complaint, re.IGNORECASE)
        for name in left_out
    )


def _served(subject: Subject, stack: ExitStack, database: str) -> tuple[Step, servers.Server | None]:
    """Start the server on its database, with what it needs; the step says what its routes answer."""
    settings = dict(subject.settings)
    if database == "postgresql":
        settings["PREFECT_API_DATABASE_CONNECTION_URL"] = stack.enter_context(services.postgresql(subject.postgresql))
        if subject.redis:
            url = stack.enter_context(services.redis())
            settings |= {**MESSAGING, "PREFECT_REDIS_MESSAGING_URL": url, "PREFECT_SERVER_DOCKET_URL": url}
    home = subject.scratch / database
    try:
        server = servers.start(subject.prefix, home, patience=PATIENCE, settings=settings, inside=subject.inside)
    except ToolError as error:
        return Step("server", False, f"{error.what}: {error.why}"), None

    def end() -> None:
        if server.process.poll() is None:
            server.stop()

    stack.callback(end)
    said = ", ".join(f"{path} {code}" for path, code in servers.routes(server).items())
    return Step("server", True, said), server


def _first_flow(server: servers.Server) -> Step:
    """A flow of three tasks, as every Prefect can run it."""
    done = server.run_flow()
    if done.returncode:
        return Step("flow", False, (done.stdout + done.stderr).strip()[-1500:])
    found = server.wait_for_task_runs(servers.TASKS)
    return Step("flow", found == servers.TASKS, f"{found} of {servers.TASKS} task runs on the server")


def _lines(server: servers.Server, *steps: str) -> Iterator[Step]:
    """The ``steps`` of ``inside/client.py``, all without any, as it says them."""
    words = [str(HERE / "client.py"), *steps]
    done = servers.run(server.prefix, "python", *words, env=server.env, timeout=600, inside=server.inside)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    yield from (Step(line["step"], line["ok"], line["found"]) for line in said)
    if done.returncode or not said:
        yield Step("client", False, f"ended with {done.returncode}: {done.stderr.strip()[-1200:]}")


def _kept(server: servers.Server, former: Path) -> Step:
    """Whether the upgraded database has the flow runs of the former one."""
    with closing(sqlite3.connect(former)) as database:
        (before,) = database.execute("SELECT count(*) FROM flow_run").fetchone()
    found = server.count("flow_runs")
    return Step("upgrade", before > 0 and found == before, f"{found} of {before} flow runs after the migrations")


def _stopped(server: servers.Server, seconds: float = 30) -> Step:
    ended = server.stop(seconds)
    asked = "it is gone once it is killed" if servers.WINDOWS else "it ends when it is asked to"
    return Step("stop", ended, asked if ended else f"it did not end within {seconds:.0f} s")


def _quiet(server: servers.Server, seconds: float = 0) -> Step:
    """No time-out between the server and its services: a client that does not fit loses events and goes on.

    ``seconds`` is how long is listened for one.
    """
    deadline = time.monotonic() + seconds
    while not (lines := _trouble(server)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return Step("log", not lines, lines[0][:400] if lines else "no time-out in the server's log")


def _trouble(server: servers.Server) -> list[str]:
    text = server.log.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if TROUBLE.search(line)]
