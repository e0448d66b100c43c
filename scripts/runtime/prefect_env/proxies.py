"""Proxy URLs and NO_PROXY lists in the one form that httpx, websockets, requests, curl and git all understand.

What each client accepts was measured (httpx 0.28, websockets 16.1 and 17.4, requests 2.34, curl 7.88, git 2.39);
scripts/runtime/README.md has the table.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union
from urllib.parse import quote, unquote, urlsplit

from prefect_env.settings import printable

PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
SUB_DELIMITERS = "!$&'()*+,;="
"""Allowed unencoded in user and password by RFC 3986, and taken literally by every client."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_ADDRESSES = 256
"""NO_PROXY networks are written out, since httpx and websockets know no CIDR, up to so many addresses in all."""

HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclass(frozen=True)
class Proxy:
    """A proxy URL taken apart; ``user`` and ``password`` are decoded."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    def url(self) -> str:
        """The URL with a scheme, a port and as little percent-encoding as it can have."""
        return self._join(lambda text: quote(text, safe=SUB_DELIMITERS))

    def raw(self) -> str | None:
        """The URL with literal credentials, for websockets < 17, which never decodes them; None if it can't be.

        urllib splits that URL in websockets, so urllib is asked whether it finds the same parts again.
        """
        url = self._join(lambda text: text)
        try:
            parts = urlsplit(url)
            same = (parts.username, parts.password, parts.port) == (self.user, self.password, self.port)
            whole = parts.hostname == self.host.lower().strip("[]") and url.endswith(parts.netloc)
        except ValueError:
            return None
        return url if same and whole and url.isascii() else None

    def _join(self, encode: Callable[[str], str]) -> str:
        # websockets refuses a user without a password, so there is always a colon
        login = "" if self.user is None else f"{encode(self.user)}:{encode(self.password or '')}@"
        return f"{self.scheme}://{login}{self.host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Take a proxy setting apart, lenient as the clients are; ValueError says what is wrong, never the value."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip().lstrip("/")
    scheme = scheme.lower()
    if scheme not in PORTS:
        raise ValueError(f"the scheme must be one of {', '.join(PORTS)}")
    login, at, place = rest.rpartition("@")
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", place)
    if match is None:
        raise ValueError("no host and port")
    host = ascii_host(match[1])
    port = int(match[2]) if match[2] else PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("no such port")
    if not at:
        return Proxy(scheme, host, port)
    user, password = (unquote(part) for part in login.partition(":")[::2])
    if not printable(user + password) or "�" in user + password:
        raise ValueError("control character in the credentials")
    return Proxy(scheme, host, port, user, password)


def ascii_host(host: str) -> str:
    """A host name or address as clients compare it; ValueError if it is none."""
    if not host.isascii():
        host = host.encode("idna").decode()
    if host.startswith("["):
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    if not HOST.fullmatch(host):
        raise ValueError("not a host name")
    return host


def host_of(url: str) -> str | None:
    """The host of an http(s) URL without brackets; None if ``url`` is no such URL."""
    if not re.fullmatch(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", url):
        return None
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts.hostname
    except ValueError:
        return None


def no_proxy(text: str) -> tuple[list[str], list[str]]:
    """Entries of a NO_PROXY value that every client understands, in order, and the problems found.

    ``*.corp`` becomes ``.corp`` (httpx) and ``corp`` (the bare name); small networks and prefixes become addresses;
    a large one is kept for the clients that know CIDR (curl, requests) and reported for those that don't.
    """
    entries: list[str] = []
    problems: list[str] = []
    for entry in re.split(r"[,\s]+", text.strip(", \t")):
        if entry == "*":
            return ["*"], []
        try:
            found, problem = _entry(entry, MAX_ADDRESSES - len(entries))
        except ValueError:
            found, problem = [], f"NO_PROXY: no client understands {entry!a}; left out"
        entries += [name for name in found if name not in entries]
        problems += [problem] if problem else []
    return entries, problems


def _entry(entry: str, room: int) -> tuple[list[str], str | None]:
    """One NO_PROXY entry, a network as its addresses if there are at most ``room``; ValueError if it is none."""
    if not entry:
        return [], None
    if "://" in entry:
        entry = entry.partition("://")[2].partition("/")[0]
    network = _network(entry)
    if network is not None:
        if network.num_addresses == 1:
            return [str(network.network_address)], None
        if network.num_addresses <= room:
            return [str(address) for address in network], None
        return [str(network)], (
            f"NO_PROXY: {network} works for curl and requests only; httpx and websockets, so Prefect, "
            "need the addresses or names"
        )
    if entry.startswith("*."):
        name = ascii_host(entry[2:])
        return [f".{name}", name], None
    name, colon, port = entry.partition(":")
    if colon and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError
    dot = "." if name.startswith(".") else ""
    return [dot + ascii_host(name[len(dot) :]) + colon + port], None


def _network(entry: str) -> Network | None:
    """The addresses an entry names: ``10.1.2.3``, ``[::1]``, ``10.0.0.0/8``, ``10.1.``, ``10.1.*``; None for a name."""
    prefix = re.fullmatch(r"((?:\d{1,3}\.){1,3})\*?", entry)
    if prefix:
        octets = prefix[1].rstrip(".").split(".")
        return ipaddress.IPv4Network(".".join(octets + ["0"] * (4 - len(octets))) + f"/{8 * len(octets)}")
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", entry)
    bare = bracketed[1] if bracketed else entry
    try:
        return ipaddress.ip_network(bare, strict=False)
    except ValueError:
        if "/" in bare:
            raise
        return None
