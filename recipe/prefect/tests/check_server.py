"""A flow run and ``flow-run ls`` against a real server: ``prefect version`` passes where both fail."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = 120
ROUTES = {"/ready": None, "/admin/version": None, "/flows/filter": b'{"limit": 1}'}


def main():
    """Start a server in a home of its own, use it, stop it."""
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        env.update(PREFECT_HOME=home, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1")
        env["COLUMNS"] = "200"  # narrower tables cut names short
        if version("prefect").startswith("1."):  # its server is a set of containers, not in the package
            subprocess.run([sys.executable, HERE / "three_tasks.py"], env=env, check=True)
            return
        server = subprocess.Popen(["prefect", "server", "start", "--port", port], env=env)
        try:
            env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
            use(server, env)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)  # it must end when it is asked to
            finally:
                server.kill()


def use(server, env):
    """One flow of three tasks; the server must know of all of them."""
    deadline = time.monotonic() + SECONDS
    while not answer(env, "/health"):
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the server did not become healthy")
        time.sleep(0.3)
    while broken := {path: code for path, body in ROUTES.items() if (code := status(env, path, body)) != 200}:
        if broken == {"/ready": 404}:  # 2.8.6 has none
            break
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server is up, but dead: /health true, {broken}; its log has the exception")
        time.sleep(1)
    subprocess.run([sys.executable, HERE / "three_tasks.py"], env=env, check=True)
    listed = subprocess.run(["prefect", "flow-run", "ls"], env=env, check=True, capture_output=True, text=True).stdout
    assert "three-tasks" in listed, listed  # noqa: S101
    while (found := answer(env, "/task_runs/count", b"{}")) != 3:  # Prefect 3 records task runs a little later
        if time.monotonic() > deadline:
            raise SystemExit(f"the server has {found} task runs, not 3")
        time.sleep(0.3)


def answer(env, path, body=None):
    """The JSON at ``path`` of the API, or None while nobody answers."""
    try:
        with ask(env, path, body) as reply:
            return json.load(reply)
    except (urllib.error.URLError, ConnectionError, ValueError):
        return None


def status(env, path, body):
    """The HTTP status at ``path``, 0 without an answer: /health is true where all others answer 500."""
    try:
        with ask(env, path, body) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def ask(env, path, body):
    """The server's reply, past every proxy."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(env["PREFECT_API_URL"] + path, body, headers)  # noqa: S310 - loopback
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


if __name__ == "__main__":
    main()
