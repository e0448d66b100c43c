"""An installed prefix stands on its own: its libraries, its paths, its trust store."""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from maintain.channel.check import checks, loaders
from maintain.channel.release import of_host
from maintain.channel.root import Root

pytestmark = pytest.mark.slow

OWN = Root(of_host(), None)

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[str]:
    """The URL of a TLS server whose certificate only ``authority`` vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients that refuse the certificate are what is tested."""

    served = Server(("127.0.0.1", 0), Quiet)
    served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"https://localhost:{served.server_address[1]}/"
    served.shutdown()
    served.server_close()


@pytest.fixture
def trusting(prefix: Path, authority: trustme.CA) -> Iterator[Path]:
    """The prefix with ``authority`` added to its ssl/cacert.pem (a new file: the old one is linked to the cache)."""
    store = prefix / "ssl" / "cacert.pem"
    kept = store.read_bytes()
    for content in (kept + authority.cert_pem.bytes(), kept):
        temporary = store.with_suffix(".new")
        temporary.write_bytes(content)
        temporary.replace(store)
        if content != kept:
            yield prefix


def run(*command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env=env or {},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_prefix_stands_on_its_own(prefix: Path) -> None:
    assert [(item.name, item.found) for item in checks(prefix, OWN) if not item.ok] == []


def test_only_packages_that_are_there_are_imported(tmp_path: Path) -> None:
    """Line 1.4 has none of them, and is not broken for that."""
    (tmp_path / "conda-meta").mkdir()
    for stem in ("orjson-3.11.4-0", "greenlet-spun-1.0-0"):
        (tmp_path / "conda-meta" / f"{stem}.json").touch()
    assert loaders(tmp_path) == ["orjson"]


def test_the_check_sees_a_program_that_obeys_ld_library_path(prefix: Path) -> None:
    """DT_RUNPATH instead of DT_RPATH is the mistake that the check is there for."""
    program = prefix / "bin" / "sqlite3"
    kept = program.with_suffix(".kept")
    program.rename(kept)
    shutil.copy(kept, program)
    try:
        subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../lib", str(program)], check=True)
        assert [item.name for item in checks(prefix, OWN) if not item.ok] == [
            "sqlite3 program, hostile LD_LIBRARY_PATH"
        ]
    finally:
        kept.replace(program)


def test_python_trusts_the_prefix_store_only(prefix: Path, server: str) -> None:
    done = run(prefix / "bin" / "python", "-c", FETCH, server)
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_python_trusts_what_is_added_to_the_prefix_store(trusting: Path, server: str) -> None:
    done = run(trusting / "bin" / "python", "-c", FETCH, server)
    assert (done.stdout.strip(), done.stderr) == ("200", "")


def test_the_variables_of_openssl_still_win(trusting: Path, server: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    done = run(trusting / "bin" / "python", "-c", FETCH, server, env={"SSL_CERT_FILE": str(empty)})
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_openssl_trusts_the_prefix_store(trusting: Path, server: str) -> None:
    address = server.removeprefix("https://").rstrip("/")
    done = run(trusting / "bin" / "openssl", "s_client", "-connect", address, "-verify_return_error", "-brief")
    assert done.returncode == 0, done.stderr
    assert "Verification: OK" in done.stderr
    assert run(trusting / "bin" / "openssl", "version", "-m").stdout == f'MODULESDIR: "{trusting}/lib/ossl-modules"\n'
    loaded = run(trusting / "bin" / "openssl", "list", "-providers", "-provider", "legacy", "-provider", "default")
    assert "legacy" in loaded.stdout, "the modules are found in the prefix"


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts need root")
def test_the_host_store_is_not_looked_at(prefix: Path, authority: trustme.CA, server: str, tmp_path: Path) -> None:
    """With the authority in every place where Debian's OpenSSL looks, Debian's trusts it and the prefix's does not."""
    if run("/usr/bin/unshare", "--mount", "/bin/true").returncode:
        pytest.skip("this container may not unshare mounts")
    certs = tmp_path / "certs"
    certs.mkdir()
    for name in ("cert.pem", "certs/ca-certificates.crt"):
        (tmp_path / name).write_bytes(authority.cert_pem.bytes())
    script = (
        'mount --bind "$1/certs" /etc/ssl/certs; if [ -d /usr/lib/ssl ]; then mount --bind "$1" /usr/lib/ssl; fi; '
        'shift; exec "$@"'
    )
    unshared: list[str | Path] = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", tmp_path]
    done = run(*unshared, prefix / "bin" / "python", "-c", FETCH, server, env={"PATH": "/usr/bin:/bin"})
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
    if Path("/usr/bin/python3").exists():
        control = run(*unshared, "/usr/bin/python3", "-I", "-c", FETCH, server, env={"PATH": "/usr/bin:/bin"})
        assert control.stdout.strip() == "200", control.stderr


def test_a_moved_copy_still_loads_its_own_libraries(prefix: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(prefix, moved, symlinks=True)
    script = "import sqlite3, ssl; print(open('/proc/self/maps').read())"
    maps = run(moved / "bin" / "python", "-c", script).stdout
    assert f"{moved}/lib/libsqlite3.so" in maps
    assert f"{prefix}/" not in maps
