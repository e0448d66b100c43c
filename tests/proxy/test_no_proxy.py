"""NO_PROXY as activation normalises it, asked of each client: the same hosts are direct for all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from maintain.lib.server import free_port
from prefect_env import proxies
from support.prefixes import line_prefix

WRITTEN = "*.corp, .test 10.1.2.0/30 [fd00::1] http://api.example/x,host.example"
DIRECT = ("a.corp", "b.a.corp", "corp", "a.test", "10.1.2.3", "api.example", "host.example", "localhost", "127.0.0.1")
PROXIED = ("xcorp", "10.1.2.4", "other.example")

IN_PYTHON = """
import json, sys
import httpx, requests.utils
from httpx._utils import URLPattern, get_environment_proxies
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

def by_httpx(url):
    patterns = {URLPattern(pattern): proxy for pattern, proxy in get_environment_proxies().items()}
    return next((proxy for pattern, proxy in sorted(patterns.items()) if pattern.matches(httpx.URL(url))), None)

answers = {}
for host in json.loads(sys.argv[1]):
    url = f"https://{host}/x"
    answers[host] = {
        "httpx": by_httpx(url) is None,
        "websockets": get_proxy(parse_uri(f"wss://{host}/x")) is None,
        "requests": requests.utils.should_bypass_proxies(url, no_proxy=None),
    }
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Both cases of a proxy where nobody listens, and of the normalised list."""
    entries, problems = proxies.no_proxy(WRITTEN)
    assert problems == []
    values = {"https_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ",".join([*entries, *proxies.LOOPBACK])}
    both = {**values, **{name.upper(): value for name, value in values.items()}, "http_proxy": values["https_proxy"]}
    return {**both, "PATH": os.environ["PATH"]}


def test_python_clients(environment: dict[str, str]) -> None:
    """httpx, websockets and requests, as line 3 has them."""
    prefix = line_prefix("3")
    hosts = [*DIRECT, "[::1]", "[fd00::1]", *PROXIED]
    command = [str(prefix / "bin/python"), "-c", IN_PYTHON, json.dumps(hosts)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for host, answers in json.loads(done.stdout).items():
        assert set(answers.values()) == {host not in PROXIED}, (host, answers)


@pytest.mark.parametrize("client", ["curl", "git"])
def test_curl_and_git(client: str, environment: dict[str, str], tmp_path: Path) -> None:
    """A direct request ends at a closed port of the host itself; one by the proxy at the proxy's."""
    if shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    port = free_port()
    for host in (*DIRECT, *PROXIED):
        url = f"http://{host}:{port}/"
        resolve = f"{host}:{port}:127.0.0.1"
        command = (
            ["curl", "-sv", "--resolve", resolve, url]
            if client == "curl"
            else ["git", "-c", f"http.curloptResolve={resolve}", "ls-remote", url]
        )
        env = {**environment, "GIT_CURL_VERBOSE": "1", "HOME": str(tmp_path)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        proxied = environment["http_proxy"].rpartition(":")[2] in done.stderr
        assert proxied == (host in PROXIED), (host, done.stderr)
