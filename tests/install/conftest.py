"""A channel of dummies, a server for it that misbehaves on request, and the command as a subprocess."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from install import dummies
from maintain.lib.paths import ROOT
from support.commands import Done, run

LINE = ("--line", "3")
"""Every dummy channel has a ``prefect-env`` of this line's version, so the real manifest can ask for it."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package cache for each test, so that nothing is there already."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(folder))
    return folder


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """A stand-in of three packages; ``tool`` has its prefix in a script and in a binary file."""
    return dummies.stand_in(tmp_path / "channel")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A path that does not exist, with what shells stumble over in it."""
    return tmp_path / "envs" / "it's a prefix"


Command = Callable[..., Done]


@pytest.fixture
def install_command(channel: Path, prefix: Path) -> Command:
    """Run the command on the dummy channel and prefix; further arguments win."""

    def call(*arguments: str | Path, code: int = 0, **variables: str) -> Done:
        return run(command(channel, prefix, *arguments), code=code, env=environ(**variables))

    return call


def command(channel: Path | str, prefix: Path, *arguments: str | Path) -> list[str | Path]:
    """The command line, by the interpreter that runs the tests (``scripts/install`` makes its own first)."""
    base: Sequence[str | Path] = (sys.executable, "-m", "maintain.install", *LINE)
    return [*base, "--channel", str(channel), "--prefix", prefix, *arguments]


def environ(**variables: str) -> dict[str, str]:
    """The test's environment with the tools on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), **variables}


class Server(ThreadingHTTPServer):
    """Serves ``root`` with ranges; ``faults`` maps a file name to what goes wrong, one fault a request.

    ``asks`` is the value of the header ``Authorization`` without which it answers 401.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.ranges = True
        self.faults: dict[str, list[str]] = {}
        self.asks = ""
        self.closing = threading.Event()
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        """The channel's address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.server.root / self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.server.requests.append((path.name, wanted))
        faults = self.server.faults.get(path.name, [])
        fault = faults.pop(0) if faults else ""
        if self.server.asks and self.headers.get("Authorization") != self.server.asks:
            fault = "401"
        if fault == "silence":
            self.server.closing.wait()
            return
        if fault.isdigit() or not path.is_file():
            self.send_error(int(fault or 404))
            return
        data = path.read_bytes()
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if wanted and self.server.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first)
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start : int(last) + 1 if last else None]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(channel: Path) -> Iterator[Server]:
    """The dummy channel over http on the loopback."""
    httpd = Server(channel)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield httpd
    httpd.closing.set()
    httpd.shutdown()
    httpd.server_close()
