"""The API server: reached as Prefect reaches it, with its proxy, CA and credentials."""

from __future__ import annotations

import base64
import importlib
import json
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect_env import effective
from prefect_env.api import answers, dead
from prefect_env.doctor import client
from prefect_env.doctor.checks import prefect, proxy
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, Status, check, fail, ok, skip, warn
from prefect_env.versions import Version

GROUP = "API server"

SECONDS = 10
"""How long one request may take."""

SETTLE = 5
"""Seconds for which a server may answer errors, as one does for moments on a fresh database."""

LATE = 10
"""Seconds until the server has recorded the task runs of a flow that ended."""

SKEW = timedelta(minutes=1)
RENEW = timedelta(days=14)
NONE = "PREFECT_API_URL is not set"


@dataclass(frozen=True)
class Answer:
    """What the server said, or the ``error`` that kept it from answering; ``dead`` as :func:`dead` has it."""

    error: str = ""
    dead: str = ""
    status: int = 0
    version: str = ""
    skew: timedelta | None = None
    certificate: dict[str, Any] | None = None


def url(context: Context) -> str | None:
    """The API's URL without a slash at its end."""
    value = context.settings.get("PREFECT_API_URL")
    return value.text.rstrip("/") if value else None


def ask(context: Context) -> Answer:
    """The server's answer, asked for once."""
    if "answer" not in context.notes:
        context.notes["answer"] = _ask(context)
    found: Answer = context.notes["answer"]
    return found


def session(context: Context) -> Any:
    """An ``httpx.Client`` made as Prefect makes its own. Raises ImportError, and what a bad CA file raises."""
    httpx: Any = importlib.import_module("httpx")
    settings = context.settings
    headers = {}
    key, login = settings.get("PREFECT_API_KEY"), settings.get("PREFECT_API_AUTH_STRING")
    if key:
        headers["Authorization"] = f"Bearer {key.text}"
    elif login:
        headers["Authorization"] = "Basic " + base64.b64encode(login.text.encode()).decode()
    more = settings.get("PREFECT_CLIENT_CUSTOM_HEADERS")
    headers.update(json.loads(more.text) if more else {})
    verify: ssl.SSLContext | bool = False
    if not settings.on(effective.INSECURE):
        own = settings.get("PREFECT_API_SSL_CERT_FILE")
        file = own.text if own else context.host.env.get("SSL_CERT_FILE")
        if not file:
            import certifi

            file = certifi.where()
        verify = ssl.create_default_context(cafile=file)
    return httpx.Client(verify=verify, headers=headers, timeout=SECONDS)


def _ask(context: Context) -> Answer:
    base = url(context)
    try:
        with session(context) as http, http.stream("GET", f"{base}/admin/version") as response:
            date, now = response.headers.get("date"), datetime.now(timezone.utc)
            stream = response.extensions.get("network_stream")
            secured = stream.get_extra_info("ssl_object") if stream else None
            shown = secured.getpeercert() if secured else None  # gone once the answer is read
            response.read()
            return Answer(
                dead=_dead(http, str(base)),
                status=response.status_code,
                version=str(response.json()) if response.status_code == 200 else "",
                skew=parsedate_to_datetime(date) - now if date else None,
                certificate=shown,
            )
    except ImportError as error:
        return Answer(error=f"httpx cannot be imported: {error}")
    except Exception as error:  # httpx has a tree of its own, and a proxy may answer with anything
        return Answer(error=f"{type(error).__name__}: {error}")


def _dead(http: Any, base: str) -> str:
    """:func:`dead`, of a server that stays so."""

    def status(path: str, body: Any) -> int:
        found = http.get(base + path) if body is None else http.post(base + path, json=body)
        return int(found.status_code)

    deadline = time.monotonic() + SETTLE
    while (said := dead(answers(status))) and time.monotonic() < deadline:
        time.sleep(0.5)
    return said


CURES = (
    ("CERTIFICATE_VERIFY_FAILED", "the server's CA is not trusted", "prefect-env trust add CA.pem"),
    ("407", "the proxy wants a user and a password, or other ones", "prefect-env proxy set http://USER@HOST:PORT"),
    ("Name or service not known", "no such name here, or only the proxy knows it", "prefect-env proxy show"),
    ("FileNotFoundError", "the CA file is missing", "prefect-env doctor --only ca-files"),
    ("Connection refused", "nobody listens there", "prefect server start, or correct PREFECT_API_URL"),
    ("", "the server, a proxy or a firewall between does not answer", "prefect-env proxy test"),
)


def _failed(what: str, error: str) -> Result:
    cause, fix = next((cause, fix) for sign, cause, fix in CURES if sign in error)
    return fail(f"{what}: {error}", cause, fix)


@check("api", "The API server answers", Needs.NETWORK)
def api(context: Context) -> Result:
    """:data:`api.ROUTES` through httpx, by Prefect's rules for proxies, CA files and credentials."""
    if not url(context):
        return skip(NONE)
    answer, place = ask(context), str(url(context))
    if answer.error:
        return _failed(place, answer.error)
    if answer.status in (401, 403):
        return fail(
            f"{place}: HTTP {answer.status}",
            "the key or login is missing or wrong",
            "prefect cloud login, or PREFECT_API_AUTH_STRING",
        )
    if answer.dead:
        cause, fix = _autopsy(context, answer.dead)
        return fail(f"{place} is up, but dead: {answer.dead}", cause, fix)
    if answer.status != 200:
        why = "not Prefect's API, or it is starting or broken"
        return fail(f"{place}: HTTP {answer.status}", why, "PREFECT_API_URL ends in /api; look at the server's log")
    return ok(f"{place}, Prefect {answer.version}")


def _autopsy(context: Context, said: str) -> tuple[str, str]:
    """Cause and cure of a dead server; the package to blame where it is known, and the server may be of this prefix."""
    if "/ready 503" in said:
        return "it does not reach its database, or still migrates it", "look at the server's log, and at its database"
    if urlsplit(str(url(context))).hostname in ("127.0.0.1", "localhost", "::1"):
        known = prefect.release(context)
        if known.status is Status.FAIL:
            return f"{known.evidence}: {known.cause}", known.fix
    why = "a package of its environment does not fit its Prefect, so every flow fails; its log has the exception"
    return why, "in the server's environment: prefect-env doctor --only prefect-release --only requirements"


@check("api-certificate", "The server's certificate lasts", Needs.NETWORK)
def certificate(context: Context) -> Result:
    """The end of the leaf's validity; the chain itself was verified by the request."""
    shown = ask(context).certificate if url(context) else None
    if not shown:
        return skip("no https" if url(context) else NONE)
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), timezone.utc)
    names = {key: value for part in shown.get("issuer", ()) for key, value in part}
    by = names.get("commonName") or names.get("organizationName") or "?"
    if end - datetime.now(timezone.utc) < RENEW:
        return warn(f"it ends on {end:%Y-%m-%d}", "from then on nothing connects", f"have it renewed by {by}")
    return ok(f"from {by}, until {end:%Y-%m-%d}")


@check("api-version", "Client and server fit", Needs.NETWORK)
def version(context: Context) -> Result:
    """Their major versions must be equal; the server should not be older."""
    if not url(context):
        return skip(NONE)
    try:
        server = Version(ask(context).version)
    except ValueError:
        return skip("the server does not tell its version")
    ours = context.prefect
    if ours is None:
        return skip("no Prefect here")
    evidence = f"client {ours}, server {server}"
    if ours.major != server.major:
        return fail(evidence, "major versions must match", f"install line {server.major} here, or upgrade the server")
    if server.release[:2] < ours.release[:2]:
        return warn(evidence, "a newer client may ask for what the server lacks", "upgrade the server first")
    return ok(evidence)


@check("clock", "The clock agrees with the server's", Needs.NETWORK)
def clock(context: Context) -> Result:
    """From the Date header of the answer."""
    skew = ask(context).skew if url(context) else None
    if skew is None:
        return skip("the server does not tell" if url(context) else NONE)
    seconds = int(skew.total_seconds())
    if abs(skew) > SKEW:
        return warn(
            f"the server is {seconds:+d} s from here",
            "schedules and logs are off, certificates seem invalid",
            "timedatectl set-ntp true",
        )
    return ok(f"{seconds:+d} s")


def _client(context: Context, what: str) -> dict[str, Any]:
    """The answer of :mod:`prefect_env.doctor.client`."""
    env = {name: value for name, value in context.host.env.items() if name != "PREFECT_DEBUG_MODE"}
    try:
        done = subprocess.run(
            [sys.executable, str(Path(client.__file__)), what],
            env={**env, "PREFECT_LOGGING_LEVEL": "CRITICAL"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=180,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["it stopped"])[-1]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@check("websocket", "The events websocket opens", Needs.NETWORK)
def websocket(context: Context) -> Result:
    """A handshake by Prefect's own client, with the real credentials of proxy and server."""
    if not url(context):
        return skip(NONE)
    if context.prefect is None or context.prefect.major < 3:
        return skip("releases before 3 record by http")
    if ask(context).error or ask(context).dead:
        return skip("the API does not answer")
    error = _client(context, "websocket")["error"]
    if error:
        found = _failed("events websocket", str(error))
        return fail(found.evidence, f"{found.cause}; {proxy.LOST}", found.fix)
    return ok("handshake done")


@check("task-runs", "The server records task runs", Needs.PROBE)
def task_runs(context: Context) -> Result:
    """Run a flow of three tasks and count what the server knows of them; the flow run is deleted afterwards."""
    if not url(context):
        return skip(NONE)
    if ask(context).dead:
        return skip("the API does not answer")
    answer = _client(context, "flow")
    if answer["error"]:
        return _failed("the probe flow", str(answer["error"]))
    run = answer["flow_run"]
    with session(context) as http:
        deadline = time.monotonic() + LATE
        while True:
            body = {"flow_runs": {"id": {"any_": [run]}}}
            found = http.post(f"{url(context)}/task_runs/count", json=body).json()
            if found == client.TASKS or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        http.delete(f"{url(context)}/flow_runs/{run}")
    if found != client.TASKS:
        return fail(f"{found} of {client.TASKS} task runs after {LATE} s", proxy.LOST, "prefect-env proxy test")
    return ok(f"{found} of {client.TASKS}")
