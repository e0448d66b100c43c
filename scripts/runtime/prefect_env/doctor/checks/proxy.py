"""Proxy variables: what httpx and websockets, the two clients of Prefect, make of them.

Their rules differ: httpx 0.28 takes ALL_PROXY and a URL without a scheme, websockets 15 and later neither; neither
takes ``*.name`` or networks in NO_PROXY; websockets before 17 do not decode credentials. Prefect 3 records task runs
through the websocket, so where that fails flows end as Completed and their task runs are lost.
"""

from __future__ import annotations

import re

from prefect_env import proxies
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Result, check, fail, merged, ok, skip, warn

GROUP = "Proxy"

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
SET = "prefect-env proxy set URL, then activate again"
NEWER = "upgrade to 3.4.24 or later: prefect-env upgrade plan"
LOST = "Prefect 3 records task runs through a websocket: flows complete, their task runs are lost"


def value(context: Context, name: str) -> str:
    """The value that clients use: the lower-case variable first."""
    return context.host.env.get(name.lower()) or context.host.env.get(name) or ""


def given(context: Context) -> dict[str, str]:
    """The proxy variables that are set, by upper-case name, with the value that clients use."""
    return {name: found for name in NAMES if (found := value(context, name))}


def api_host(context: Context) -> str | None:
    """The host of PREFECT_API_URL."""
    url = context.settings.get("PREFECT_API_URL")
    return proxies.host_of(url.text) if url else None


def by_websocket(context: Context) -> bool:
    """Whether this Prefect lets websockets 15 and later find the proxy by itself."""
    return context.prefect is not None and context.prefect >= "3.4.24"


@check("proxy-urls", "Proxy URLs are understood by both clients")
def urls(context: Context) -> Result:
    """Scheme, host and port, and SOCKS without its library."""
    found = []
    for name, text in given(context).items():
        try:
            proxy = proxies.parse_proxy(text)
        except ValueError as error:
            found.append(fail(f"{name}: {error}", "every request fails", SET))
            continue
        if "://" not in text:
            severe = fail if by_websocket(context) else warn
            found.append(severe(f"{name} has no scheme", f"websockets refuse it; {LOST}", SET))
        if proxy.scheme.startswith("socks"):
            lacking = [package for package in ("socksio", "python-socks") if package not in context.host.packages]
            if lacking:
                found.append(
                    fail(
                        f"{name} is a SOCKS proxy, {' and '.join(lacking)} missing",
                        "httpx needs socksio, websockets python-socks; neither comes with Prefect",
                        f"conda install {' '.join(lacking)}, or use the site's http proxy",
                    )
                )
    return merged(found, ok(", ".join(given(context)) or "no proxy is set"))


@check("proxy-credentials", "The proxy's password reaches it by websocket")
def credentials(context: Context) -> Result:
    """websockets 15 and 16 send user and password undecoded; WSS_PROXY can hold them literally."""
    websockets = context.version("websockets")
    if not by_websocket(context) or websockets is None or not 15 <= websockets.major <= 16:
        return skip("this Prefect's websockets do not read the proxy's credentials")
    name = next((name for name in ("WSS_PROXY", "HTTPS_PROXY") if value(context, name)), "")
    login = re.match(r"(?:\w+://)?(.*)@", value(context, name)) if name else None
    if login and name == "HTTPS_PROXY" and re.search(r"%[0-9A-Fa-f]{2}", login[1]):
        return fail(
            f"the credentials in {name} are percent-encoded, websockets {websockets} send them as they are",
            LOST,
            "activate the environment anew (it sets WSS_PROXY literally), or have the password changed",
        )
    return ok("yes" if login else "no credentials")


@check("proxy-cases", "Both cases of a proxy variable agree")
def cases(context: Context) -> Result:
    """Clients differ in which case they read first; curl reads http_proxy in lower case only."""
    if context.host.windows:
        return skip("Windows has one variable for both cases")
    env = context.host.env
    differ = [
        name for name in (*NAMES, "NO_PROXY") if name in env and name.lower() in env and env[name] != env[name.lower()]
    ]
    empty = [name for name in differ if not env[name.lower()]]
    found = [
        warn(
            f"{name} and {name.lower()} differ" + (f", {name.lower()} is empty" if name in empty else ""),
            "the lower-case one wins for most clients, the other for some",
            f"unset {name.lower()}; {SET}",
        )
        for name in differ
    ]
    return merged(found, ok("yes"))


@check("proxy-schemes", "The proxy is set for https and websockets")
def schemes(context: Context) -> Result:
    """ALL_PROXY alone, or HTTP_PROXY alone for an https API."""
    found = given(context)
    url = context.settings.get("PREFECT_API_URL")
    https = url is not None and url.text.startswith("https")
    if "HTTPS_PROXY" in found or "WSS_PROXY" in found or not found:
        return ok("yes" if found else "no proxy is set")
    if "ALL_PROXY" in found:
        severe = fail if by_websocket(context) and https else warn
        return severe("only ALL_PROXY is set for https", f"websockets ignore it; {LOST}", SET)
    if https:
        return warn("HTTP_PROXY is set, HTTPS_PROXY is not", "requests of the https API go direct", SET)
    return ok("http only, as the API's URL")


@check("no-proxy", "NO_PROXY is understood by both clients")
def no_proxy(context: Context) -> Result:
    """``*.name``, networks and prefixes are not; ``[::1]`` makes httpx fail."""
    found = []
    for entry in re.split(r"[,\s]+", value(context, "NO_PROXY").strip(", \t")):
        if not entry or entry == "*":
            continue
        entries, problems = proxies.no_proxy(entry)
        if entry.startswith("["):
            found.append(fail(f"NO_PROXY has {entry}", "httpx raises InvalidURL on every request", "write ::1"))
        elif problems or entries != [entry]:
            better = ",".join(entries) if entries and len(entries) < 4 and not problems else "the names or addresses"
            why = "httpx and websockets do not know such an entry: the hosts are reached through the proxy"
            found.append(warn(f"NO_PROXY has {entry}", why, f"write {better}"))
    return merged(found, ok(value(context, "NO_PROXY") or "not set"))


@check("no-proxy-loopback", "Loopback is not sent to the proxy")
def loopback(context: Context) -> Result:
    """Prefect 3 talks to its temporary server on 127.0.0.1, 2.x to a local one if there is one."""
    if not given(context):
        return skip("no proxy is set")
    entries = proxies.no_proxy(value(context, "NO_PROXY"))[0]
    missing = [name for name in ("localhost", "127.0.0.1") if name not in entries and entries != ["*"]]
    if not missing:
        return ok("yes")
    new = context.prefect is not None and context.prefect.major >= 3
    severe = fail if new or api_host(context) in proxies.LOOPBACK else warn
    return severe(
        f"NO_PROXY lacks {' and '.join(missing)}",
        "neither client leaves loopback out by itself: local servers cannot be reached",
        f"export NO_PROXY={','.join([*entries, *missing])}",
    )


@check("websocket-proxy", "This release's websockets use the proxy")
def websocket(context: Context) -> Result:
    """What releases before 3.4.24 make of a proxy (PrefectHQ/prefect#16326, #16538, #18318, #19144)."""
    version = context.prefect
    if not given(context) or version is None or version < "3" or by_websocket(context):
        return skip("no proxy, or a release that records by http, or one whose websockets use it")
    if version < "3.1.7":
        return fail(f"Prefect {version} opens websockets past the proxy", LOST, NEWER)
    found = []
    if not any(context.host.env.get(name) for name in ("HTTPS_PROXY", "HTTP_PROXY")):
        found.append(fail(f"Prefect {version} reads upper-case variables only for websockets", LOST, SET))
    if version < "3.1.11":
        found.append(warn(f"Prefect {version} ignores NO_PROXY for websockets", LOST, NEWER))
    elif version < "3.4.7":
        why = "an event loop error behind proxies (PrefectHQ/prefect#18359)"
        found.append(warn(f"Prefect {version} has {why}", LOST, NEWER))
    return merged(found, ok("upper-case variables are set"))
