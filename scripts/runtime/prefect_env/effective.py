"""What an activation sets: the settings files and the user's own variables, brought together by one set of rules.

A pure reading of the host: nothing is written here. :mod:`prefect_env.state` turns the plan into what shells read,
``prefect-env show`` into what people read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prefect_env import bundle, proxies
from prefect_env.settings import MAX_VALUE, Layer, Value, layers, printable, switch

WINDOWS = os.name == "nt"
USER = "environment"

# Variables that take the merged bundle, and the one whose value a client uses while its own is unset:
# where the user has set that one, setting ours would take the user's choice away.
CA_VARIABLES: dict[str, str | None] = {
    "SSL_CERT_FILE": None,
    "PREFECT_API_SSL_CERT_FILE": "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE": None,
    "CURL_CA_BUNDLE": "SSL_CERT_FILE",
    "PIP_CERT": "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO": None,
    "NODE_EXTRA_CA_CERTS": None,
    "AWS_CA_BUNDLE": "REQUESTS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": None,
}
FOLDER_ALLOWED = {"REQUESTS_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE"}

INSECURE = "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"
TELEMETRY_OFF = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
OPENSSL_MARKER = "__CONDA_OPENSSL_CERT_FILE_SET"
CLOUD = (".prefect.cloud", ".prefect.io")
LINUX_VALUE = 100_000
"""Longest value in bytes: Linux starts no program while a variable takes more than 128 KiB (execve(2))."""


def _both_cases(*names: str) -> tuple[str, ...]:
    """Each name in upper and lower case; Windows has one variable for both."""
    return names if WINDOWS else tuple(case for name in names for case in (name, name.lower()))


MANAGED = (
    *_both_cases("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "WS_PROXY", "WSS_PROXY"),
    *CA_VARIABLES,
    "PREFECT_API_URL",
    INSECURE,
    *TELEMETRY_OFF,
)
"""Every variable that an activation may set; the shells' scripts list the same names."""

READ = ("PREFECT_ENV_PROJECT", "PIXI_PROJECT_ROOT", OPENSSL_MARKER) + (
    ("APPDATA",) if WINDOWS else ("XDG_CONFIG_HOME", "HOME")
)
"""Every other variable that the plan depends on."""


@dataclass
class Plan:
    """``variables``: name to the new value (None: unset) and its source; ``settings``: all read, with theirs.

    ``ca_sources``: file and name of each part of the bundle (empty: no bundle); ``watched``: paths whose change
    makes the plan stale; ``warnings`` are said at activation, ``notes`` by the command only: one line each, no secrets.
    """

    variables: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    settings: dict[str, Value] = field(default_factory=dict)
    ca_sources: list[tuple[Path, str]] = field(default_factory=list)
    ca_system: bool = False
    ca_shared: bool = True
    watched: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(prefix: Path, environ: Mapping[str, str]) -> Plan:
    """The plan for activating ``prefix`` in ``environ``, which must be the user's own (earlier activation undone)."""
    result = Plan()
    files, result.watched = layers(prefix, environ)
    result.watched.append(prefix / "conda-meta")
    for layer in files:
        result.notes += layer.problems
        result.settings.update(layer.values)
    _prefect(result, environ)
    _proxy(result, files, prefix, environ)
    _trust(result, files, prefix, environ)
    return result


def too_long(value: str) -> bool:
    """Whether a shell could not set a variable to ``value``."""
    return len(value) > MAX_VALUE if WINDOWS else len(os.fsencode(value)) > LINUX_VALUE


def _once(said: list[str], text: str) -> None:
    """Add ``text`` to what is said, unless it is there."""
    if text not in said:
        said.append(text)


def _set(result: Plan, environ: Mapping[str, str], name: str, value: str, source: str) -> None:
    """Plan ``name`` = ``value`` unless it is so already."""
    if too_long(value):
        _once(result.warnings, f"{source}: {name.upper()} would be longer than a shell can take; not set")
    elif environ.get(name) != value:
        result.variables[name] = (value, source)
        if WINDOWS and "!" in value:
            result.notes.append(f"{source}: {name} holds an exclamation mark: cmd /V:ON leaves it unset")


def _prefect(result: Plan, environ: Mapping[str, str]) -> None:
    """PREFECT_API_URL, telemetry and the insecure switch."""
    url = result.settings.get("PREFECT_API_URL")
    if url and url.text and not environ.get("PREFECT_API_URL"):
        if proxies.host_of(url.text):
            _set(result, environ, "PREFECT_API_URL", url.text, url.source)
        else:
            result.warnings.append(f"{url.source}: PREFECT_API_URL is no http(s) URL; not set")
    telemetry = result.settings.get("TELEMETRY")
    if telemetry and telemetry.text and not switch(telemetry):
        for name, value in TELEMETRY_OFF.items():
            if not environ.get(name):
                _set(result, environ, name, value, telemetry.source)
    insecure = result.settings.get(INSECURE)
    if insecure and switch(insecure) and not environ.get(INSECURE):
        _set(result, environ, INSECURE, "true", insecure.source)
        result.warnings.append(
            f"{insecure.source}: certificates are NOT verified by Prefect ({INSECURE}); this is for tests only"
        )


def _user(environ: Mapping[str, str], key: str) -> str | None:
    """The user's value of a proxy variable in either case, as clients prefer it: lower case first."""
    return environ.get(key.lower()) or environ.get(key) or None


def _resolve(files: list[Layer], environ: Mapping[str, str], key: str) -> Value | None:
    """The value of a proxy key from the highest layer that speaks of it.

    In one layer the scheme's own key stands above ALL_PROXY; an empty value says "no proxy".
    """
    keys = (key,) if key in ("ALL_PROXY", "NO_PROXY") else (key, "ALL_PROXY")
    for name in keys:
        text = _user(environ, name)
        if text:
            return Value(text, USER)
    for layer in reversed(files):
        for name in keys:
            if name in layer.values:
                return layer.values[name] if layer.values[name].text else None
    return None


def _proxy(result: Plan, files: list[Layer], prefix: Path, environ: Mapping[str, str]) -> None:
    """Both cases of each proxy variable, NO_PROXY, and the websockets' own where their client needs it."""
    found: dict[str, proxies.Proxy] = {}
    for key in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        value = _resolve(files, environ, key)
        if value is None:
            continue
        for name in _both_cases(key):
            chosen = Value(environ[name], USER) if environ.get(name) else value
            try:
                proxy = proxies.parse_proxy(chosen.text)
            except ValueError as error:
                _once(result.warnings, f"{chosen.source}: {key} is no proxy URL: {error}; left as it is")
                continue
            found[key] = proxy
            if re.search("%[0-9A-Fa-f]{2}", proxy.password or ""):
                note = f"{chosen.source}: the password holds a percent sign before two digits: git decodes it twice"
                _once(result.notes, note)
            _set(result, environ, name, proxy.url(), chosen.source)
    _websockets(result, found, prefix, environ)
    value = _resolve(files, environ, "NO_PROXY")
    if not (found or (value and value.source == USER)):
        return  # on Windows and macOS NO_PROXY alone would switch the system's proxy off
    entries, problems = proxies.no_proxy(value.text if value else "")
    source = value.source if value else "default"
    result.notes += [f"{source}: {problem}" for problem in problems]
    if entries != ["*"]:
        entries += [name for name in (*proxies.LOOPBACK, *_api_host(result, environ)) if name not in entries]
    for name in _both_cases("NO_PROXY"):
        _set(result, environ, name, ",".join(entries), source)


def _api_host(result: Plan, environ: Mapping[str, str]) -> list[str]:
    """The host of the API, which is reached directly unless it is Prefect Cloud or a setting says otherwise."""
    url = environ.get("PREFECT_API_URL") or result.variables.get("PREFECT_API_URL", ("", ""))[0] or ""
    host = proxies.host_of(url)
    if host is None or switch(result.settings.get("PREFECT_API_VIA_PROXY")) or f".{host}".endswith(CLOUD):
        return []
    return [host]


def websockets_version(prefix: Path) -> int | None:
    """The major version of websockets in ``prefix``; None where it is not installed."""
    from prefect_env import installed  # not needed, so not paid for, without a proxy

    version = installed.versions(installed.site_packages(prefix)).get("websockets", "").split(".")[0]
    return int(version) if version.isdigit() else None


def _websockets(result: Plan, found: dict[str, proxies.Proxy], prefix: Path, environ: Mapping[str, str]) -> None:
    """Give websockets 15 and 16 the literal password: they don't decode it, and look at WSS_PROXY first.

    Without this Prefect 3 ends a flow as Completed while the server gets none of its task runs.
    """
    version = websockets_version(prefix) if found else None
    if version not in (15, 16):
        return
    https = found.get("HTTPS_PROXY")
    for key, proxy in (("WSS_PROXY", https), ("WS_PROXY", https or found.get("HTTP_PROXY"))):
        if proxy is None or _user(environ, key):
            continue
        if proxy.raw() is None or ":" in (proxy.user or ""):
            _once(
                result.warnings,
                f"the proxy's user name or password has a character that Prefect's websockets {version} cannot send: "
                "task runs will not be recorded; have it changed to one without / ? # [ ] and non-ASCII characters",
            )
        elif proxy.raw() != proxy.url():
            for name in _both_cases(key):
                _set(result, environ, name, str(proxy.raw()), "credentials as websockets need them")


def broken(name: str, path: str) -> bool:
    """Whether a CA variable's value makes its clients fail: Prefect exits 1, OpenSSL trusts nothing."""
    return not (bundle.usable(path) or (name in FOLDER_ALLOWED and Path(path).is_dir()))


def _trust(result: Plan, files: list[Layer], prefix: Path, environ: Mapping[str, str]) -> None:
    """The parts of the bundle, and the CA variables whose values are broken."""
    system = result.settings.get("CA_SYSTEM")
    result.ca_system = switch(system)
    for layer in files:
        for value in layer.ca_files:
            path = Path(value.text)
            if not printable(value.text):
                continue
            result.ca_sources.append((path, value.source))
            result.ca_shared = result.ca_shared and layer.name == "site"
    if result.ca_sources or result.ca_system:
        _bundle_parts(result, prefix, system)
    for name in CA_VARIABLES:
        own = environ.get(name, "")
        if Path(own).is_absolute() and printable(own):
            result.watched.append(Path(own))
        if own and broken(name, own):
            result.variables[name] = (None, "it names a missing or empty file")


def _bundle_parts(result: Plan, prefix: Path, system: Value | None) -> None:
    """Put the environment's roots and the host's store before the site's CAs."""
    roots = bundle.conda_roots(prefix)
    parts = [(roots, "ca-certificates")] if roots else []
    store = bundle.host_store() if result.ca_system else None
    if store and system:
        parts.append((store, system.source))
    elif system and result.ca_system and not WINDOWS:
        result.warnings.append(f"{system.source}: CA_SYSTEM: this host has no CA bundle file")
    result.ca_sources[:0] = parts
    result.watched += [path for path, _ in result.ca_sources]


def use_bundle(result: Plan, environ: Mapping[str, str], path: str) -> None:
    """Point the CA variables at the merged bundle, but those that the user has set to something usable."""
    own = {name for name in CA_VARIABLES if environ.get(name) and name not in result.variables}
    if environ.get(OPENSSL_MARKER) == "1":
        own.discard("SSL_CERT_FILE")  # openssl's own activation script set it, not the user
    for name, fallback in CA_VARIABLES.items():
        if name not in own and fallback not in own:
            result.variables.pop(name, None)
            _set(result, environ, name, path, "CA bundle")
