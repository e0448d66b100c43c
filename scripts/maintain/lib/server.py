"""A Prefect server of an installed prefix on a free loopback port: start, use, stop.

Shared by ``scripts/demo`` and the line tests. The exit status of a flow proves little (Prefect 3 loses task
runs silently when its websocket fails), so :meth:`Server.count` asks the server what it recorded. ``/health``
proves as little: it is true where a package that does not fit makes every other route answer 500 (:func:`routes`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from maintain.lib.blame import blame, mend
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES

FLOW = RECIPES / "prefect" / "tests" / "three_tasks.py"
"""A flow of :data:`TASKS` tasks that runs on every line and prints ``total: 12``."""
TASKS = 3

GRACE = 10
"""Seconds that a server's children may outlive it."""

SETTLE = 10
"""Seconds that a healthy server may answer errors with a traceback in its log: on a fresh database some pass."""

ROUTES: tuple[tuple[str, object | None], ...] = (
    ("/health", None),
    ("/ready", None),
    ("/admin/version", None),
    ("/flows/filter", {"limit": 1}),
)
"""What a server is asked before it counts as one that serves, with the bodies of the POSTs."""

TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)", re.MULTILINE)
"""A traceback in a log, and the line of its exception."""

Inside = Callable[[Sequence[str]], list[str]]
"""Makes of a command the one that runs it elsewhere, in the root of another Debian release; ``list``: as it is."""

WINDOWS = os.name == "nt"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def program(prefix: Path, name: str) -> Path:
    """The path of the program ``name`` ("python", "prefect", ...) in ``prefix``."""
    if not WINDOWS:
        return prefix / "bin" / name
    return prefix / "python.exe" if name == "python" else prefix / "Scripts" / f"{name}.exe"


def folders(prefix: Path) -> list[Path]:
    """The folders of ``prefix`` that activation puts on PATH; on Windows libraries are found by it, too."""
    if not WINDOWS:
        return [prefix / "bin"]
    library = prefix / "Library"
    return [prefix, library / "mingw-w64" / "bin", library / "usr" / "bin", library / "bin", prefix / "Scripts"]


def environment(prefix: Path, home: Path, api: str | None = None) -> dict[str, str]:
    """This process's variables for a private Prefect: own ``PREFECT_HOME``, no telemetry, the API at ``api``.

    Without ``api`` Prefect runs in ephemeral mode. The caller's proxies, CA files and Python's and Prefect's
    variables are dropped: everything here happens on loopback.
    """
    foreign = ("PREFECT_", "PYTHON", "SSL_CERT_", "REQUESTS_CA_", "LD_LIBRARY_PATH")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }
    env |= {
        "PATH": os.pathsep.join([*map(str, folders(prefix)), env.get("PATH", os.defpath)]),
        # Windows gives what is no console its code page, and a table or a log line that has no place in it is an error.
        "PYTHONIOENCODING": "utf-8",
        "CONDA_PREFIX": str(prefix),
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    return env | ({"PREFECT_API_URL": api} if api else {})


def free_port() -> int:
    """A loopback port that nobody listens on; never use one twice, 2.20 refuses a port in TIME_WAIT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(
    prefix: Path, *command: str | Path, env: Mapping[str, str], timeout: float = 240, inside: Inside = list
) -> subprocess.CompletedProcess[str]:
    """Run a program of ``prefix`` by name in ``PREFECT_HOME``; text captured, no exception on failure."""
    home = Path(env["PREFECT_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    words = [str(program(prefix, str(command[0]))), *map(str, command[1:])]
    return subprocess.run(
        inside(words),
        env=dict(env),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
        cwd=home,
    )


@dataclass
class Server:
    """A running server. ``url`` is the UI's address, ``api`` the API's; ``log`` is what it prints."""

    prefix: Path
    home: Path
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of it and its clients beside :func:`environment`'s."""
    inside: Inside = list

    @property
    def api(self) -> str:
        """The value for ``PREFECT_API_URL``."""
        return f"{self.url}/api"

    @property
    def env(self) -> dict[str, str]:
        """The variables of a client of this server."""
        return environment(self.prefix, self.home, self.api) | dict(self.settings)

    def get(self, path: str, body: object | None = None) -> Any:
        """The JSON at ``path`` of the API (a POST when there is a ``body``). Raises OSError."""
        with _direct.open(self._request(path, body), timeout=10) as answer:
            return json.load(answer)

    def status(self, path: str, body: object | None = None) -> int:
        """The HTTP status at ``path`` of the API, asked as by :meth:`get`; 0 if nobody answers."""
        try:
            with _direct.open(self._request(path, body), timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, HTTPException):
            return 0

    def _request(self, path: str, body: object | None) -> urllib.request.Request:
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.Request(self.api + path, data, {"Content-Type": "application/json"})  # noqa: S310

    def count(self, kind: Literal["flow_runs", "task_runs"]) -> int:
        """How many flow runs or task runs the server has recorded."""
        return int(self.get(f"/{kind}/count", {}))

    def wait_for_task_runs(self, number: int, seconds: float = 30) -> int:
        """The count of task runs when it reaches ``number`` or time is over (Prefect 3 records them late)."""
        deadline = time.monotonic() + seconds
        while (found := self.count("task_runs")) < number and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def run_flow(self, script: Path = FLOW) -> subprocess.CompletedProcess[str]:
        """Run the flow ``script`` as a client of this server."""
        return run(self.prefix, "python", script, env=self.env, inside=self.inside)

    def stop(self, seconds: float = 30) -> bool:
        """End the server by SIGTERM. True if it and its children obeyed; otherwise they are killed.

        Windows has nothing to ask a process by: there it is killed at once, and True says that nobody answers any more.
        """
        if WINDOWS:
            self.kill()
            return _ends(lambda: self.status("/health") == 0, GRACE)
        self.process.terminate()
        try:
            self.process.wait(seconds)
            clean = _ends(self._group_is_gone, GRACE)
        except subprocess.TimeoutExpired:
            clean = False
        if not clean:
            self.kill()
        return clean

    def kill(self) -> None:
        """End the server and every process it started, at once."""
        if WINDOWS:
            # The program is a launcher, and the server a child of its child: to end one leaves the others running.
            tree = ["taskkill", "/T", "/F", "/PID", str(self.process.pid)]
            subprocess.run(tree, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _group_is_gone(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def start(
    prefix: Path,
    home: Path,
    *,
    seconds: float = 120,
    patience: float = SETTLE,
    settings: Mapping[str, str] | None = None,
    inside: Inside = list,
) -> Server:
    """Run ``prefect server start`` of ``prefix`` in ``PREFECT_HOME`` = ``home``; wait till it serves.

    ``patience`` is how many seconds a healthy server may answer errors with a traceback in its log.
    Raises ``command-failed`` with the log's end when it stops or is not healthy after ``seconds``, and
    ``server-dead`` when it is healthy and a route stays broken.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = home / "server.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            inside([str(program(prefix, "prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)]),
            env=environment(prefix, home) | dict(settings or {}),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=not WINDOWS,  # its own process group, so that a child left behind is found
        )
    server = Server(prefix, home, f"http://127.0.0.1:{port}", process, log, settings or {}, inside)

    def healthy_or_ended() -> bool:
        if process.poll() is not None:
            return True
        try:
            return server.get("/health") is True
        except (OSError, ValueError):
            return False

    try:
        healthy = _ends(healthy_or_ended, seconds)
        if healthy and _serves(server, seconds, min(patience, seconds)):
            return server
    except BaseException:
        server.kill()
        raise
    why = f"it ended with code {process.poll()}" if healthy else f"no answer after {seconds:.0f} s"
    server.kill()
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise ToolError("command-failed", "the Prefect server did not start", where=str(log), why=f"{why}\n{tail}")


def routes(server: Server) -> dict[str, int]:
    """What ``server`` answers: the HTTP status of each of :data:`ROUTES`, 0 where it does not answer at all."""
    return {path: server.status(path, body) for path, body in ROUTES}


def broken(answers: Mapping[str, int]) -> dict[str, int]:
    """Those of ``answers`` that a server which serves does not give. ``/ready`` is unknown to 2.8.6."""
    return {path: status for path, status in answers.items() if status != 200 and (path, status) != ("/ready", 404)}


def _serves(server: Server, seconds: float, patience: float) -> bool:
    """Whether a healthy ``server`` serves (True) or has ended (False). Raises ``server-dead``."""
    answers: dict[str, int] = {}

    def served_or_ended() -> bool:
        answers.update(routes(server))
        return not broken(answers) or server.process.poll() is not None

    # A traceback alone proves nothing, services meet a fresh database before its tables are there; nor does an error
    # alone, for the same time. Both together, and still so after a while, do.
    if not _ends(served_or_ended, patience):
        exception = last_exception(server.log)
        if exception:
            raise _dead(server, answers, f"its log says: {exception}")
        if not _ends(served_or_ended, seconds - patience):
            raise _dead(server, answers, f"it stayed so for {seconds:.0f} s; its log has no traceback")
    return server.process.poll() is None


def _dead(server: Server, answers: Mapping[str, int], seen: str) -> ToolError:
    said = ", ".join(f"{path} {status or 'no answer'}" for path, status in answers.items())
    blamed = blame(server.prefix)
    return ToolError(
        "server-dead",
        "the Prefect server is up, but dead",
        where=str(server.log),
        why="\n".join([said, seen, *map(str, blamed)]),
        fix=mend(server.prefix, blamed)
        if blamed
        else "no package is known to be at fault: compare with the versions in envs/, and report it with the log",
    )


def last_exception(log: Path) -> str | None:
    """The exception of the last traceback in ``log``."""
    found = TRACEBACK.findall(log.read_text(encoding="utf-8", errors="replace"))
    return found[-1] if found else None


@contextmanager
def running(prefix: Path, home: Path, *, seconds: float = 120) -> Iterator[Server]:
    """:func:`start` as a context; the server is gone afterwards in any case."""
    server = start(prefix, home, seconds=seconds)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def _ends(done: Callable[[], bool], seconds: float) -> bool:
    """Poll ``done`` until it is true (True) or ``seconds`` are over (False)."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
