"""What the doctor says of an API server that is not in order, asked by the clients of a real environment."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from maintain.lib import server as servers
from prefect_env.effective import CA_VARIABLES
from support import fake_server
from support.prefixes import line_prefix

pytestmark = pytest.mark.slow

CHECKS = ("api", "api-certificate", "api-version", "clock")


class Api(BaseHTTPRequestHandler):
    """An old server with a wrong clock, which wants a login when it is asked below ``/locked``."""

    def do_GET(self) -> None:
        locked = self.path.startswith("/locked") and self.headers.get("Authorization") != "Basic YWRtaW46cGFzcw=="
        body = json.dumps("3.1.0").encode()
        self.send_response_only(401 if locked else 200)
        self.send_header("Date", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def address(authority: trustme.CA) -> Iterator[str]:
    """https on loopback, with a certificate that ends in five days."""
    leaf = authority.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=5))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()


def ask(folder: Path, code: int, **variables: str) -> dict[str, Any]:
    """The four checks that need no websocket."""
    prefix = line_prefix("3")
    env = {name: value for name, value in servers.environment(prefix, folder).items() if name not in CA_VARIABLES}
    chosen = [word for name in CHECKS for word in ("--only", name)]
    done = servers.run(prefix, "prefect-env", "doctor", "--json", *chosen, env={**env, **variables})
    assert done.returncode == code, done.stdout + done.stderr
    return {check["id"]: check for check in json.loads(done.stdout)}


def test_nobody_listens(tmp_path: Path) -> None:
    found = ask(tmp_path, 1, PREFECT_API_URL=f"http://127.0.0.1:{servers.free_port()}/api")
    assert found["api"]["status"] == "fail"
    assert "prefect server start" in found["api"]["fix"]
    assert {found[name]["status"] for name in CHECKS[1:]} == {"skip"}


def test_a_server_that_is_up_and_dead(tmp_path: Path) -> None:
    with fake_server.serving("dead") as url:
        found = ask(tmp_path, 1, PREFECT_API_URL=url)
    assert "is up, but dead: /health 200, /ready 500, /admin/version 500" in found["api"]["evidence"]
    assert {found[name]["status"] for name in ("api-certificate", "api-version")} == {"skip"}


def test_a_ca_that_is_not_trusted(address: str, tmp_path: Path) -> None:
    found = ask(tmp_path, 1, PREFECT_API_URL=f"{address}/api")["api"]
    assert "CERTIFICATE_VERIFY_FAILED" in found["evidence"]
    assert "prefect-env trust add" in found["fix"]


def test_the_fix_works_and_the_rest_is_seen(address: str, authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    found = ask(tmp_path, 0, PREFECT_API_URL=f"{address}/api", SSL_CERT_FILE=str(file))
    assert found["api"]["status"] == "ok"
    assert {name: found[name]["status"] for name in CHECKS[1:]} == dict.fromkeys(CHECKS[1:], "warn")
    assert "server 3.1.0" in found["api-version"]["evidence"]


def test_a_login_that_is_missing(address: str, authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    variables = {"PREFECT_API_URL": f"{address}/locked/api", "PREFECT_API_SSL_CERT_FILE": str(file)}
    assert "HTTP 401" in ask(tmp_path, 1, **variables)["api"]["evidence"]
    assert ask(tmp_path, 0, **variables, PREFECT_API_AUTH_STRING="admin:pass")["api"]["status"] == "ok"


def test_a_proxy_that_is_not_there_is_told_without_its_password(address: str, tmp_path: Path) -> None:
    proxy = f"http://ana:proxy-secret@127.0.0.1:{servers.free_port()}"
    found = ask(tmp_path, 1, PREFECT_API_URL=f"{address}/api", HTTPS_PROXY=proxy)["api"]
    assert found["status"] == "fail"
    assert "proxy-secret" not in json.dumps(found)
