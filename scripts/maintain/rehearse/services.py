"""A PostgreSQL and a Redis of Debian's on loopback, for one rehearsal: made, used, gone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maintain.lib.errors import ToolError
from maintain.lib.server import free_port

SECONDS = 60
"""How long a service may take to answer."""

POSTGRESQL = Path("/usr/lib/postgresql")
"""Where Debian keeps the servers' programs, by version."""


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database ``prefect``, as asyncpg's SQLAlchemy dialect takes it.

    Raises ``missing-program`` and ``command-failed``.
    """
    programs = _programs()
    port = free_port()
    with _folder() as folder:
        data = folder / "data"
        _run([programs / "initdb", "--auth=trust", "--username=prefect", "--encoding=UTF8", "--no-sync", data])
        # fsync proves nothing here, and the database is gone in a minute.
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        control: list[str | Path] = [programs / "pg_ctl", f"--pgdata={data}", f"--log={folder / 'log'}", "--wait"]
        _run([*control, f"--timeout={SECONDS}", f"--options={options}", "start"])
        try:
            address = ["--host=127.0.0.1", f"--port={port}", "--username=prefect"]
            _run([programs / "createdb", *address, "prefect"])
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
        finally:
            _run([*control, "--mode=immediate", "stop"])


@contextmanager
def redis() -> Iterator[str]:
    """The URL of an empty Redis that keeps nothing. Raises ``missing-program`` and ``command-failed``."""
    program = shutil.which("redis-server")
    if program is None:
        raise _missing("redis-server", "redis-server")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="prefect-env-redis-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            deadline = time.monotonic() + SECONDS
            while b"Ready to accept connections" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ToolError("command-failed", "redis-server does not start", why=log.read_text()[-800:])
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def versions(*, redis: bool) -> dict[str, str]:
    """The versions of the services that a rehearsal takes."""
    programs = {"postgresql": str(_programs() / "postgres"), **({"redis": "redis-server"} if redis else {})}
    found = {}
    for name, program in programs.items():
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+(\.\d+)+", said)
        found[name] = number[0] if number else "unknown"
    return found


def _programs() -> Path:
    """The folder of the newest PostgreSQL's programs. Raises ``missing-program``."""
    programs = max(POSTGRESQL.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    if programs is None:
        raise _missing("PostgreSQL's server", "postgresql")
    return programs


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the user that PostgreSQL runs as: its server refuses to run as root."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-postgresql-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            shutil.chown(name, "postgres", "postgres")
        yield Path(name)


def _run(words: list[str | Path]) -> None:
    command = [str(word) for word in words]
    user = "postgres" if os.geteuid() == 0 else None
    # Its log goes to a file; a pipe would stay open as long as the server that pg_ctl leaves behind.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, user=user, group=user, extra_groups=[] if user else None, cwd="/", stdin=subprocess.DEVNULL,
            stdout=said, stderr=said, check=False,
        )  # fmt: skip
        if done.returncode:
            said.seek(0)
            why = said.read().decode(errors="replace").strip()[-800:]
            raise ToolError("command-failed", f"{Path(command[0]).name} failed", why=why)


def _missing(what: str, package: str) -> ToolError:
    return ToolError(
        "missing-program",
        f"{what} is not on this machine",
        why="the environment `server` is rehearsed with it",
        fix=f"apt-get install --no-install-recommends {package}",
    )
