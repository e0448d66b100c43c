"""A server that answers as Prefect's does, in milliseconds: sound, old, or up and dead.

Also a program, in place of ``prefect server start``: ``fake_server.py MODE ... --port N``.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXCEPTION = "AttributeError: 'PrefectRouter' object has no attribute 'routes'"
TRACEBACK = f"""12:00:00.000 | ERROR   | prefect.server - Encountered exception in request:
Traceback (most recent call last):
  File "fastapi/routing.py", line 2581, in _get_routes_version
    for route in self.routes:
                 ^^^^^^^^^^^
{EXCEPTION}
"""
"""The end of what Prefect 3.6.24 logs with fastapi 0.141.1 for each request but ``/health``."""

MODES = {
    "sound": "all is well",
    "old": "2.8.6, which has no /ready",
    "dead": "/health true, the rest 500 with a traceback in the log",
    "mute": "the same, without the traceback",
    "starting": "the same as dead for three requests, then all is well",
    "no-database": "/ready 503, the rest 500",
    "locked": "a login is wanted, except at /health and /ready",
}
ANSWERS: dict[str, object] = {"/health": True, "/ready": {"message": "OK"}, "/admin/version": "3.6.24"}
ANSWERS["/flows/filter"] = []


class Handler(BaseHTTPRequestHandler):
    """The four routes; ``mode`` is a key of :data:`MODES`."""

    mode = "sound"
    errors = 0
    log: Any = None

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("/api")[2]
        code = self.code(path) if path in ANSWERS else 404
        if code == 500 and self.log and self.mode != "mute":
            self.log.write(TRACEBACK)
            self.log.flush()
        content = ANSWERS[path] if code == 200 else {"exception_message": "Internal Server Error"}
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer as to GET; the body has to be JSON."""
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def code(self, path: str) -> int:
        """The status at a known ``path``."""
        kind = type(self)
        if path == "/health" or self.mode == "sound":
            return 200
        if self.mode == "old":
            return 404 if path == "/ready" else 200
        if self.mode == "locked":
            return 200 if path == "/ready" else 401
        if self.mode == "no-database" and path == "/ready":
            return 503
        kind.errors += 1
        return 200 if self.mode == "starting" and kind.errors > 3 else 500

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(mode: str) -> Iterator[str]:
    """A server in this process; its API's URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Fake", (Handler,), {"mode": mode, "errors": 0})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def program(path: Path, mode: str) -> None:
    """Write a ``prefect`` to ``path`` whose server this is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {mode} "$@"\n')
    path.chmod(0o755)


def main(mode: str, port: int) -> None:
    """Serve until a signal."""
    handler = type("Fake", (Handler,), {"mode": mode, "log": sys.stderr})
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[sys.argv.index("--port") + 1]))
