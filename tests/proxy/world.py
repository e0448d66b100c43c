"""A network in which an authenticating proxy is the only way to a Prefect server behind a private CA.

The client lives in a network namespace of its own, whose one route ends at squid. nginx serves ``prefect.test`` with
a certificate of an intermediate CA; squid alone can resolve that name. All on this host, all real programs of Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from maintain.lib.server import Server, free_port, running

HOST = "prefect.test"
PROGRAMS = ("ip", "squid", "nginx", "htpasswd")
PLAIN = ("plain", "simple")
SPECIAL = ("special", "p@ss%41:w!rd &$(id)'\"`^|{}<>\\+=")
"""User and password: everything that can be put into a URL for websockets 16, which decodes nothing."""
GIT = ("git", SPECIAL[1].replace("%41", "%4"))
"""The same without what looks percent-encoded, which git 2.39 decodes once more."""

SQUID = """
http_port {gateway}:{port}
hosts_file {home}/hosts
pid_filename {home}/squid.pid
cache_log {home}/cache.log
access_log stdio:{home}/access.log
logfile_rotate 0
cache_mem 8 MB
cache deny all
coredump_dir {home}
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_ncsa_auth {home}/passwords
auth_param basic children 2
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""

NGINX = """
daemon off;
user root;
pid {home}/nginx.pid;
error_log {home}/nginx-error.log;
events {{ worker_connections 256; }}
http {{
  access_log {home}/nginx-access.log;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {home}/chain.pem;
    ssl_certificate_key {home}/key.pem;
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_read_timeout 300;
    }}
    location /files/ {{ alias {home}/files/; autoindex on; }}
  }}
}}
"""


@dataclass
class World:
    """``api``: the server's address for the client; ``proxy``: squid's; ``log``: what that notes; ``ca``: the root.

    ``other_ca`` is a CA that signed nothing.
    """

    home: Path
    log: Path
    namespace: str
    proxy: str
    api: str
    ca: Path
    other_ca: Path
    server: Server

    def settings(self, user: tuple[str, str] | None = PLAIN, *, ca: Path | None = None) -> str:
        """Settings with which everything works; without ``user`` there is no proxy."""
        from urllib.parse import quote

        lines = [
            f"PREFECT_API_URL={self.api}",
            "PREFECT_API_VIA_PROXY=true",
            "TELEMETRY=off",
            f"CA_FILE={ca or self.ca}",
        ]
        if user:
            login = ":".join(quote(part, safe="") for part in user)
            lines.append(f"ALL_PROXY=http://{login}@{self.proxy}")
        return "\n".join(lines)

    def client(
        self,
        prefix: Path,
        settings: str | None,
        *command: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the client's network after ``activate`` alone; without ``settings`` nothing is activated."""
        home = self.home / f"client-{time.monotonic_ns()}"
        (home / ".config" / "prefect-env").mkdir(parents=True)
        if settings is not None:
            (home / ".config" / "prefect-env" / "prefect-env.conf").write_text(settings)
        own = {
            "HOME": str(home),
            "PATH": f"{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "CONDA_PREFIX": str(prefix),
            "PREFECT_HOME": str(home / "prefect"),
            **(env or {}),
        }
        activate = '. "$CONDA_PREFIX/etc/conda/activate.d/00_prefect-env.sh"; ' if settings is not None else ""
        inner = ["env", "-i", *(f"{name}={value}" for name, value in own.items())]
        inner += ["bash", "--norc", "-c", activate + 'cd "$HOME"; exec "$@"', "bash", *command]
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *inner],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def asked(self) -> int:
        """How many requests the proxy has seen."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


def _start(stack: ExitStack, command: list[str], log: Path) -> None:
    """Run a server until the stack closes."""
    stream = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)


def _wait(ready: Path, *, text: str, seconds: float = 30) -> None:
    """Wait until a log file says ``text``."""
    deadline = time.monotonic() + seconds
    while not (ready.exists() and text in ready.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"{ready} does not say {text!r}"
        time.sleep(0.05)


def certificates(home: Path) -> Path:
    """Write nginx's key and chain; the root's file, which only the client is given."""
    root = trustme.CA(organization_name="Example Root", key_type=trustme.KeyType.RSA)
    intermediate = root.create_child_ca(key_type=trustme.KeyType.RSA)
    leaf = intermediate.issue_cert(HOST, key_type=trustme.KeyType.RSA)
    (home / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(home / "key.pem")
    root.cert_pem.write_to_path(home / "root.pem")
    return home / "root.pem"


@contextmanager
def world(home: Path, prefix: Path) -> Iterator[World]:
    """Build the network and start all servers; skips where that cannot be done."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (tests/apt.txt)")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    number = os.getpid() % 16384
    namespace, gateway = f"pe{number}", f"10.77.{number // 64}.{number % 64 * 4 + 1}"
    inside = gateway.rpartition(".")[0] + f".{number % 64 * 4 + 2}"
    with ExitStack() as stack:
        if subprocess.run(["ip", "netns", "add", namespace], capture_output=True, check=False).returncode:
            pytest.skip("this host does not let us make a network namespace")
        stack.callback(subprocess.run, ["ip", "netns", "del", namespace], check=True)
        for line in (
            f"ip link add {namespace}o type veth peer name {namespace}i netns {namespace}",
            f"ip addr add {gateway}/30 dev {namespace}o",
            f"ip link set {namespace}o up",
            f"ip -n {namespace} addr add {inside}/30 dev {namespace}i",
            f"ip -n {namespace} link set {namespace}i up",
            f"ip -n {namespace} link set lo up",
        ):
            subprocess.run(line.split(), check=True, capture_output=True)
        ca = certificates(home)
        trustme.CA().cert_pem.write_to_path(home / "other.pem")
        server = stack.enter_context(running(prefix, home / "server"))
        ports = {"squid": free_port(), "nginx": free_port()}
        # squid gives up root, and pytest closes its own folders to others
        open_home = Path(stack.enter_context(TemporaryDirectory(prefix="prefect-env-squid-")))
        (open_home / "hosts").write_text(f"127.0.0.1 {HOST}\n")
        for index, (user, password) in enumerate((PLAIN, SPECIAL, GIT)):
            flags = "-bc" if index == 0 else "-b"
            subprocess.run(
                ["htpasswd", flags, open_home / "passwords", user, password], check=True, capture_output=True
            )
        (open_home / "squid.conf").write_text(SQUID.format(port=ports["squid"], gateway=gateway, home=open_home))
        (home / "nginx.conf").write_text(NGINX.format(port=ports["nginx"], home=home, upstream=server.url))
        open_home.chmod(0o755)
        shutil.chown(open_home, "proxy")
        _start(stack, ["nginx", "-p", str(home), "-c", str(home / "nginx.conf")], home / "nginx.log")
        _start(stack, ["squid", "-N", "-f", str(open_home / "squid.conf")], home / "squid.log")
        _wait(open_home / "cache.log", text="Accepting HTTP Socket connections")
        yield World(
            home,
            open_home / "access.log",
            namespace,
            f"{gateway}:{ports['squid']}",
            f"https://{HOST}:{ports['nginx']}/api",
            ca,
            home / "other.pem",
            server,
        )
