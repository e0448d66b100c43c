"""Start the new environment's server for a trial, before anything is changed: an upgrade to a dead one is none."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from prefect_env import api, installed
from prefect_env.console import CommandError, mask, say
from prefect_env.db.prefix import Prefix
from prefect_env.doctor import host
from prefect_env.doctor.checks.prefect import release
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Status

SECONDS = 180
"""Until the server has to be healthy; on a fresh database it takes 10 to 20 on a quiet machine."""

SETTLE = 10
"""Seconds that a healthy server may answer errors, as it does for moments on a fresh database."""

SERVER = """
import os, signal, subprocess, sys, threading

def end():
    sys.stdin.read()
    if os.name == "nt":
        subprocess.call(["taskkill", "/T", "/F", "/PID", str(os.getpid())])
    else:
        os.killpg(0, signal.SIGKILL)

threading.Thread(target=end, daemon=True).start()
from prefect.cli import app
app()
"""
"""Prefect's command; it and its children end when stdin does, so also when this process is killed."""

EXCEPTION = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)", re.MULTILINE)


def run(prefix: Prefix) -> None:
    """Raise ``server-dead`` or ``command-failed`` unless the server of ``prefix`` serves.

    It gets a home and a database of its own and none of the user's settings, so it proves the packages, no more.
    """
    say(f"trying the server of {prefix} ...")
    home = Path(tempfile.mkdtemp(prefix="prefect-env-trial-"))
    try:
        _try(prefix, home)
    finally:
        shutil.rmtree(str(home), ignore_errors=True)


def _try(prefix: Prefix, home: Path) -> None:
    port, log = _free_port(), home / "server.log"
    group = "orion" if prefix.version < "2.8.1" else "server"
    words = [str(prefix.python), "-I", "-c", SERVER, group, "start", "--host", "127.0.0.1", "--port", str(port)]
    foreign = ("PREFECT_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env.update(
        PATH=os.pathsep.join([str(prefix.python.parent), env.get("PATH", os.defpath)]),
        PREFECT_HOME=str(home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        NO_COLOR="1",
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(
            words,
            env=env,
            cwd=str(home),  # no prefect.toml of the user's
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _require(prefix, process, api.direct(f"http://127.0.0.1:{port}/api"), log)
    finally:
        process.communicate()  # which closes its stdin


def _require(prefix: Prefix, process: subprocess.Popen[bytes], ask: Callable[[str, Any], int], log: Path) -> None:
    """Wait until the server serves; raise what keeps it from that."""
    found: dict[str, int] = {}

    def healthy() -> bool:
        return process.poll() is not None or ask("/health", None) == 200

    def serves() -> bool:
        found.update(api.answers(ask))
        return process.poll() is not None or not api.dead(found)

    served = _ends(healthy, SECONDS) and _ends(serves, SETTLE)
    if served and process.poll() is None:
        return
    text = mask(log.read_text(errors="replace"))
    stays = "nothing was changed; mend that environment, or add --untried if no server is to run in it"
    if served or not found:
        end = f"it ended with code {process.poll()}" if served else f"no answer after {SECONDS} s"
        raise CommandError(
            "command-failed",
            f"the server of Prefect {prefix.version} does not start",
            where=str(prefix.path),
            why="\n    ".join([end, *text.strip().splitlines()[-6:]]),
            fix=stays,
        )
    known = release(Context(_host(prefix)))
    blamed = known.status is Status.FAIL
    raise CommandError(
        "server-dead",
        f"the server of Prefect {prefix.version} is up, but dead",
        where=str(prefix.path),
        why="\n    ".join(
            [api.dead(found), *EXCEPTION.findall(text)[-1:], *([f"{known.evidence}: {known.cause}"] if blamed else [])]
        ),
        fix=f"{stays}; {known.fix}" if blamed else stays,
    )


def _host(prefix: Prefix) -> host.Host:
    """This host with ``prefix`` as its environment."""
    packages = installed.versions(installed.site_packages(prefix.path))
    return replace(host.live(), prefix=str(prefix.path), packages=packages)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ends(done: Callable[[], bool], seconds: float) -> bool:
    """Poll ``done`` until it is true (True) or ``seconds`` are over (False)."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
