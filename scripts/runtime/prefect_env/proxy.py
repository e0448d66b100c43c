"""``prefect-env proxy``: the proxy settings, and whether Prefect's own clients get through."""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from typing import Any
from urllib.parse import urlsplit

import click

from prefect_env import console, edit, network, proxies, session, show
from prefect_env.console import CommandError
from prefect_env.settings import PROXY_KEYS, shown


@click.group()
def proxy() -> None:
    """Set, show and test the proxy."""


@proxy.command("set")
@click.argument("url")
@click.option("--no-proxy", metavar="LIST", help="Hosts to reach directly: names, .suffixes, addresses.")
@click.option("--ask-password", is_flag=True, help="Ask for the password, so that it is not in the shell's history.")
@edit.where_option
@console.command
def set_(url: str, no_proxy: str | None, ask_password: bool, where: str, *, as_json: bool) -> None:
    """Use the proxy URL for http and https.

    \b
    Example:
      prefect-env proxy set http://me@proxy.example.com:3128 --ask-password --no-proxy .example.com
    """
    try:
        found = proxies.parse_proxy(url)
    except ValueError as error:
        raise CommandError("bad-settings", "that is no proxy URL", why=str(error)) from error
    if ask_password:
        password = click.prompt("Password", hide_input=True, err=True)
        found = proxies.Proxy(found.scheme, found.host, found.port, found.user, password)
    path = session.settings_file(where)
    changes: dict[str, str | None] = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), found.url())
    if no_proxy is not None:
        for problem in proxies.no_proxy(no_proxy)[1]:
            console.say(f"note: {problem}")
        changes["NO_PROXY"] = no_proxy
    edit.update(path, changes)
    result = {"file": str(path), **{key: console.mask(str(value)) for key, value in changes.items()}}
    console.emit(
        result, f"{console.mask(found.url())} is the proxy from the next activation on ({shown(path)})", as_json=as_json
    )


@proxy.command("show")
@console.command
def show_(*, as_json: bool) -> None:
    """Show the proxy variables that activation sets, and where each comes from.

    \b
    Example:
      prefect-env proxy show
    """
    current = session.current()
    found = {name: row for name, row in show.values(current).items() if name.upper().endswith("_PROXY")}
    lines = [show.table(found) or "no proxy is set"]
    lines += [
        f"note: {text}" for text in [*current.plan.warnings, *current.plan.notes] if "PROXY" in text or "proxy" in text
    ]
    console.emit(found, "\n".join(lines), as_json=as_json)


@proxy.command()
@edit.where_option
@console.command
def unset(where: str, *, as_json: bool) -> None:
    """Take the proxy settings out of a settings file.

    \b
    Example:
      prefect-env proxy unset
    """
    path = session.settings_file(where)
    if path.exists():
        edit.update(path, dict.fromkeys(PROXY_KEYS))
    console.emit({"file": str(path)}, f"no proxy is set in {shown(path)}", as_json=as_json)


@proxy.command()
@click.argument("url", required=False)
@console.command
def test(url: str | None, *, as_json: bool) -> None:
    """Reach a URL (the API without one) with Prefect's clients: http and websocket, by the settings and direct.

    Task runs of Prefect 3 travel by websocket only, so a test of http alone proves nothing.

    \b
    Example:
      prefect-env proxy test https://prefect.example.com/api
    """
    current = session.current()
    url = url or current.environ.get("PREFECT_API_URL")
    if not url or proxies.host_of(url) is None:
        raise CommandError("bad-usage", "no URL to test", fix="give one, or set PREFECT_API_URL")
    for name in set(os.environ) - set(current.environ):
        del os.environ[name]
    os.environ.update(current.environ)
    host, port = network.address(url)
    scheme = urlsplit(url).scheme
    found = network.proxy_for(host, port, current.environ, scheme)
    rows = [_row("http", "by the settings", found, _http(url, trust_env=True)), *_websocket_rows(url, found)]
    rows.append(_row("http", "direct", None, _http(url, trust_env=False)))
    lines = [f"{row['client']:<10} {row['way']:<16} {row['via']:<28} {row['result']}" for row in rows]
    console.emit({"url": url, "tests": rows}, "\n".join(lines), as_json=as_json)
    failed = [row for row in rows if row["way"] == "by the settings" and not row["ok"]]
    if failed:
        direct = rows[-1]["ok"]
        raise CommandError(
            "network",
            f"{failed[0]['client']} does not get through",
            where=url,
            why=str(failed[0]["result"]),
            fix="it works directly: add the host to NO_PROXY"
            if direct and found
            else "prefect-env show; prefect-env trust verify URL",
        )


def _row(client: str, way: str, via: proxies.Proxy | None, result: tuple[bool, str]) -> dict[str, Any]:
    """One test as ``--json`` prints it."""
    place = f"proxy {via.host}:{via.port}" if via else "no proxy"
    return {"client": client, "way": way, "via": place, "ok": result[0], "result": console.mask(result[1])}


def _context() -> ssl.SSLContext:
    """What Prefect trusts: its own variable, else the environment's bundle."""
    return ssl.create_default_context(
        cafile=os.environ.get("PREFECT_API_SSL_CERT_FILE") or os.environ.get("SSL_CERT_FILE")
    )


def _http(url: str, *, trust_env: bool) -> tuple[bool, str]:
    """One GET with httpx; any answer of the server will do."""
    try:
        httpx = importlib.import_module("httpx")
    except ImportError:
        return False, "httpx is not installed"
    try:
        with httpx.Client(trust_env=trust_env, verify=_context(), timeout=network.TIMEOUT) as client:
            return True, f"answer {client.get(url).status_code}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


def _websocket_rows(url: str, found: proxies.Proxy | None) -> list[dict[str, Any]]:
    """The websocket that Prefect 3 sends events by, if this environment has a websockets that knows proxies."""
    try:
        websockets = importlib.import_module("websockets.version")
    except ImportError:
        return []
    if int(websockets.version.split(".")[0]) < 15:
        return []
    return [_row("websocket", "by the settings", found, asyncio.run(_websocket(url)))]


async def _websocket(url: str) -> tuple[bool, str]:
    """One handshake; any answer of the server itself will do."""
    client = importlib.import_module("websockets.asyncio.client")
    invalid_status = importlib.import_module("websockets.exceptions").InvalidStatus
    target = "ws" + url[len("http") :].rstrip("/") + "/events/in"
    trusted = {"ssl": _context()} if target.startswith("wss:") else {}
    try:
        async with client.connect(target, open_timeout=network.TIMEOUT, subprotocols=["prefect"], **trusted):
            return True, "connected"
    except invalid_status as error:
        return error.response.status_code not in (404, 502, 503), f"answer {error.response.status_code}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
