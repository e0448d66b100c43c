"""What happens inside the namespace of test_airgap.py: ``airgap_session.py WORK control|session``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from maintain.lib.server import FLOW, free_port

WORK = Path(sys.argv[1])
PREFIX = WORK / "env"
DEPLOY = """
from prefect import flow
flow.from_source(source={folder!r}, entrypoint="three_tasks.py:three_tasks").deploy(
    name="worked", work_pool_name="pool", print_next_steps=False)
"""


def control() -> None:
    """Two attempts to get out: a packet, and a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", ("192.0.2.1", 9))
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(["getent", "hosts", "prefect.test"], check=False, timeout=2)


def session() -> None:
    """Install, activate, server, flow, worker, the lists of workers, idle, a flow with no route at all."""
    words = ["sh", str(WORK / "installer.sh"), "--batch", "--airgap", "--json", "--prefix", str(PREFIX)]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG")} | {"PREFECT_HOME": str(WORK / "prefect")}
    client = env | {"PREFECT_API_URL": api}

    def activated(*command: str | Path, env: dict[str, str] = client) -> list[str]:
        return [
            "env",
            "-i",
            *(f"{k}={v}" for k, v in env.items()),
            "sh",
            "-c",
            ACTIVATE,
            str(PREFIX),
            *map(str, command),
        ]

    def start(*command: str | Path, env: dict[str, str] = client) -> subprocess.Popen[bytes]:
        log = (WORK / f"{command[1]}.log").open("wb")
        return subprocess.Popen(activated(*command, env=env), stdout=log, stderr=log, cwd=WORK, start_new_session=True)

    def get(path: str, body: object | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(api + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def until(done: Callable[[], bool], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if done():
                    return
            except OSError:
                pass
            time.sleep(0.3)
        logs = "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in WORK.glob("*.log"))
        raise SystemExit(f"waited {seconds:.0f} s in vain; {logs}")

    def last_state() -> str:
        return str(get("/flow_runs/filter", {"limit": 1, "sort": "EXPECTED_START_TIME_DESC"})[0]["state_name"])

    def run(*command: str | Path) -> None:
        subprocess.run(activated(*command), check=True, cwd=WORK, timeout=300)

    server = start("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), env=env)
    worker = None
    try:
        until(lambda: get("/health") is True)
        until(lambda: bool(get("/ready")) and get("/admin/version") and get("/flows/filter", {"limit": 1}) == [])
        run("python", FLOW)
        found["flow"] = last_state()
        found["workers"] = len(get("/collections/views/aggregate-worker-metadata"))
        run("prefect", "work-pool", "create", "pool", "--type", "process")
        run("python", "-c", DEPLOY.format(folder=str(FLOW.parent)))
        worker = start("prefect", "worker", "start", "--pool", "pool", "--install-policy", "never")
        run("prefect", "deployment", "run", "three-tasks/worked")
        until(lambda: last_state() in ("Completed", "Failed", "Crashed"))
        found["worker"] = last_state()
        time.sleep(int(os.environ["IDLE"]))
        subprocess.run(["ip", "link", "delete", "way_out"], check=True)
        run("python", FLOW)
        found["blind"] = last_state()
        until(lambda: get("/task_runs/count", {}) >= 9)
        found["task_runs"] = get("/task_runs/count", {})
    finally:
        for process in (worker, server):
            if process:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(60)
    (WORK / "session.json").write_text(json.dumps(found))


ACTIVATE = 'PREFECT_ENV_PREFIX=$0 . "$0/activate" && exec "$@"'

if __name__ == "__main__":
    {"control": control, "session": session}[sys.argv[2]]()
