"""A PostgreSQL, of the environment or of Debian, and a Redis on loopback, for one rehearsal: made, used, gone."""

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
from uuid import uuid4

from maintain.lib.errors import ToolError
from maintain.lib.server import folders, free_port

SECONDS = 60
"""How long a service may take to answer."""

POSTGRESQL = Path("/usr/lib/postgresql")
"""Where Debian keeps the servers' programs, by version."""


@contextmanager
def postgresql(programs: Path | None = None) -> Iterator[str]:
    """The URL of an empty database ``prefect``, as asyncpg's SQLAlchemy dialect takes it.

    ``programs`` is the folder of the server's programs, Debian's without. Raises ``missing-program`` and
    ``command-failed``.
    """
    programs = programs or _debian()
    port = free_port()
    with _folder() as folder:
        data = folder / "data"
        options = ["--auth=trust", "--username=prefect", "--encoding=UTF8", "--no-locale", "--no-sync"]
        _run([programs / "initdb", *options, data])
        # In the file, as pg_ctl hands options to a shell, and each system's has other quotes.
        # fsync proves nothing here, and the database is gone in a minute.
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n")
        control: list[str | Path] = [programs / "pg_ctl", f"--pgdata={data}", f"--log={folder / 'log'}", "--wait"]
        _run([*control, f"--timeout={SECONDS}", "start"])
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


def versions(*, redis: bool, programs: Path | None = None) -> dict[str, str]:
    """The versions of the services that a rehearsal takes; ``programs`` as for :func:`postgresql`."""
    said_by = {"postgresql": str((programs or _debian()) / "postgres"), **({"redis": "redis-server"} if redis else {})}
    found = {}
    for name, program in said_by.items():
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+(\.\d+)+", said)
        found[name] = number[0] if number else "unknown"
    return found


def programs_of(prefix: Path) -> Path:
    """The folder of an environment's own PostgreSQL. Raises ``command-failed`` if it has none, against its purpose."""
    for folder in folders(prefix):
        if shutil.which("initdb", path=str(folder)):
            return folder
    raise ToolError("command-failed", "the environment has no PostgreSQL server", where=str(prefix))


def _debian() -> Path:
    """The folder of the newest PostgreSQL's programs of Debian. Raises ``missing-program``."""
    programs = max(POSTGRESQL.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    if programs is None:
        raise _missing("PostgreSQL's server", "postgresql")
    return programs


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the user that PostgreSQL runs as: its server refuses to run as root."""
    if os.name == "nt":
        # Python's temporary folders are their owner's alone there. An administrator's belong to the administrators,
        # whose rights PostgreSQL gives up before it starts: a plain folder has those of the folder around it.
        folder = Path(tempfile.gettempdir(), f"prefect-env-postgresql-{uuid4().hex}")
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with tempfile.TemporaryDirectory(prefix="prefect-env-postgresql-", ignore_cleanup_errors=True) as name:
        if owner := _owner():
            os.chown(name, *owner)
        yield Path(name)


def _owner() -> tuple[int, int] | None:
    """User and group that PostgreSQL runs as if we are root, whom it refuses; None for ourselves."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    return user.pw_uid, user.pw_gid


def _run(words: list[str | Path]) -> None:
    command = [str(word) for word in words]
    user, group = _owner() or (None, None)
    # What PostgreSQL's programs take from variables is given here by options; a runner's own would win elsewhere.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # Its log goes to a file; a pipe would stay open as long as the server that pg_ctl leaves behind.
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, user=user, group=group, extra_groups=[] if user else None, cwd="/", env=env,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
            )  # fmt: skip
        except OSError as error:  # a prefix below a folder of root's, for example
            raise ToolError(
                "unsupported-host", f"{Path(command[0]).name} cannot be started", where=command[0], why=str(error)
            ) from error
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
