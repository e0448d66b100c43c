"""curl, git, pip, requests, httpx and node after activation, with the proxy as the only way out and a private CA."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintain.lib.server import free_port
from proxy import world as world_module
from proxy.world import GIT, SPECIAL, World
from support.prefixes import line_prefix


@pytest.fixture(scope="module")
def prefix() -> Path:
    return line_prefix("3")


@pytest.fixture(scope="module")
def world(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world, whose nginx also serves a git repository and a package index."""
    home = tmp_path_factory.mktemp("clients")
    files = home / "files"
    (files / "index" / "tiny").mkdir(parents=True)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "init", "-q", "--bare", files / "tiny.git"], check=True)
    subprocess.run(["git", "init", "-q", home / "work"], check=True)
    subprocess.run([*git, "-C", home / "work", "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    subprocess.run(["git", "-C", home / "work", "push", "-q", files / "tiny.git", "HEAD:main"], check=True)
    subprocess.run(["git", "-C", files / "tiny.git", "update-server-info"], check=True)
    (files / "index" / "tiny" / "tiny-1.0.tar.gz").write_bytes(b"not opened, only downloaded")
    with world_module.world(home, prefix) as made:
        yield made


PYTHON = str(getattr(sys, "_base_executable", sys.executable))
"""A Python with pip; the stand-in's environments have none."""

CLIENTS = {
    "curl": ("curl", "-fsS", "{files}/"),
    "git": ("git", "ls-remote", "{files}/tiny.git"),
    "requests": ("python", "-c", "import requests, sys; requests.get(sys.argv[1]).raise_for_status()", "{files}/"),
    "httpx": ("python", "-c", "import httpx, sys; httpx.get(sys.argv[1]).raise_for_status()", "{files}/"),
    "urllib": ("python", "-c", "import urllib.request, sys; urllib.request.urlopen(sys.argv[1])", "{files}/"),
    "pip": (PYTHON, "-m", "pip", "index", "versions", "tiny", "--retries=0", "--index-url", "{files}/index"),
}


def words(world: World, name: str) -> list[str]:
    files = world.api.removesuffix("/api") + "/files"
    return [word.format(files=files) for word in CLIENTS[name]]


@pytest.mark.parametrize("name", CLIENTS)
def test_client(name: str, world: World, prefix: Path) -> None:
    """It fails with nothing activated or a piece missing or wrong, and works after activation alone."""
    command = words(world, name)
    if name in ("curl", "git") and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    if (
        name == "pip"
        and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no pip here")
    user = GIT if name == "git" else SPECIAL
    whole = world.settings(user)
    lacking = {
        "no activation": None,
        "no CA": whole.replace(f"CA_FILE={world.ca}", ""),
        "wrong CA": world.settings(user, ca=world.other_ca),
        "no proxy": world.settings(None),
        "bad password": world.settings((user[0], "wrong")),
    }
    for piece, settings in lacking.items():
        assert world.client(prefix, settings, *command).returncode != 0, piece
    done = world.client(prefix, whole, *command)
    assert done.returncode == 0, done.stderr


def test_node_trusts_the_bundle(world: World, prefix: Path) -> None:
    """node (which knows no proxy) takes the CA from NODE_EXTRA_CA_CERTS."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    port = int(world.api.removesuffix("/api").rpartition(":")[2])
    code = (
        "require('https').get({host:'127.0.0.1', servername:'prefect.test', path:'/files/', headers:{host:'x'}, "
        f"port:{port}}}, answer => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(2))"
    )
    bundle = world.client(prefix, world.settings(), "sh", "-c", 'cat "$NODE_EXTRA_CA_CERTS"').stdout
    file = world.home / "node.pem"
    file.write_text(bundle)
    assert (
        subprocess.run([node, "-e", code], env={"NODE_EXTRA_CA_CERTS": str(file)}, timeout=60, check=False).returncode
        == 0
    )
    assert subprocess.run([node, "-e", code], env={}, timeout=60, check=False).returncode == 2


def test_loopback_is_direct(world: World, prefix: Path) -> None:
    """A server on the client's own loopback: asked of the proxy without our NO_PROXY, reached directly with it."""
    port = free_port()
    code = (
        "import http.server, threading, httpx\n"
        f"s = http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        f"for host in ('127.0.0.1', 'localhost'): httpx.get(f'http://{{host}}:{port}/').raise_for_status()\n"
    )
    plain = {"HTTP_PROXY": f"http://plain:simple@{world.proxy}"}
    assert world.client(prefix, None, "python", "-c", code, env=plain).returncode != 0
    assert world.client(prefix, world.settings(), "python", "-c", code).returncode == 0


def test_proxy_test(world: World, prefix: Path) -> None:
    """``prefect-env proxy test`` finds http and websocket open, and a wrong password, as they are."""
    command = ("prefect-env", "proxy", "test", "--json")
    good = world.client(prefix, world.settings(SPECIAL), *command)
    assert good.returncode == 0, good.stdout + good.stderr
    rows = {(row["client"], row["way"]): row["ok"] for row in json.loads(good.stdout)["tests"]}
    assert rows == {
        ("http", "by the settings"): True,
        ("websocket", "by the settings"): True,
        ("http", "direct"): False,
    }
    bad = world.client(prefix, world.settings(("plain", "wrong")), *command)
    assert bad.returncode == 3
    assert "407" in bad.stdout
    assert "wrong" not in bad.stdout + bad.stderr


def test_trust_verify_through_the_proxy(world: World, prefix: Path) -> None:
    """``prefect-env trust verify`` goes through the proxy as the clients do."""
    done = world.client(prefix, world.settings(SPECIAL), "prefect-env", "trust", "verify", world.api)
    assert done.returncode == 0, done.stderr
    assert "this environment: trusted" in done.stdout
