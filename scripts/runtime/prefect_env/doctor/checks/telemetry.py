"""Telemetry: who is called, and whether that can work here."""

from __future__ import annotations

import socket
import threading

from prefect_env import edit, effective, proxies
from prefect_env.doctor.checks import proxy
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, merged, ok, warn
from prefect_env.settings import user_file

GROUP = "Telemetry"


def calls_home(context: Context) -> list[str]:
    """The hosts that this Prefect sends telemetry to, as it is set; none where Prefect Cloud is used."""
    settings, version = context.settings, context.prefect
    url = settings.get("PREFECT_API_URL")
    if version is None or version.major < 2 or (url and f".{proxies.host_of(url.text)}".endswith(effective.CLOUD)):
        return []
    hosts = ["sens-o-matic.prefect.io"] if settings.on("PREFECT_SERVER_ANALYTICS_ENABLED", default=True) else []
    if version >= "3.6.16" and context.host.env.get("DO_NOT_TRACK", "").lower() not in ("1", "true"):
        hosts.append("api2.amplitude.com")
    return hosts


def _silence(context: Context) -> str:
    path = user_file(context.host.env)
    edit.update(path, {"TELEMETRY": "false"})
    return f"wrote TELEMETRY=false into {path}; activate the environment again"


@check(
    "telemetry",
    "An offline host does not call home",
    Needs.NETWORK,
    fixer=_silence,
    question="Turn telemetry off in your prefect-env.conf?",
)
def telemetry(context: Context) -> Result:
    """Telemetry that is on where its address is not known: every try is an error in the log."""
    calls = calls_home(context)
    if not calls:
        return ok("it is off, or not in this release")
    if proxy.given(context):
        return ok(f"{', '.join(calls)}: through the proxy")
    lost = [host for host in calls if not _resolves(host)]
    return merged(
        (
            warn(
                f"telemetry to {host} is on and cannot get there",
                "'Failed to send telemetry' in the server's log every 10 minutes",
                "TELEMETRY=false in prefect-env.conf (or PREFECT_SERVER_ANALYTICS_ENABLED=false and DO_NOT_TRACK=1)",
            )
            for host in lost
        ),
        ok(f"{', '.join(calls)} can be reached; off with TELEMETRY=false in prefect-env.conf"),
    )


def _resolves(host: str) -> bool:
    """Whether ``host`` has an address; a name server that does not answer within three seconds counts as no."""
    found: list[bool] = []

    def look() -> None:
        try:
            found.append(bool(socket.getaddrinfo(host, 443)))
        except OSError:
            found.append(False)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(3)
    return bool(found) and found[0]
