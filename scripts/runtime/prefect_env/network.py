"""Connections by hand, with the standard library only: through a proxy's CONNECT or direct, to see what is there."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from prefect_env import proxies
from prefect_env.console import CommandError

TIMEOUT = 15.0
"""Seconds for one connection."""


def address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST[:PORT]`` or a URL; 443 without a port. Raises CommandError ``bad-usage``."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        port = 0
    if not parts.hostname or not port:
        raise CommandError("bad-usage", "that is no HOST[:PORT] and no URL", where=text)
    return parts.hostname, port


def proxy_for(host: str, port: int, environ: Mapping[str, str], scheme: str = "https") -> proxies.Proxy | None:
    """The proxy that the variables name for a host; None for a direct connection."""
    found = {
        name.lower()[: -len("_proxy")]: value for name, value in environ.items() if name.endswith("_PROXY") and value
    }
    found.update(
        {name[: -len("_proxy")]: value for name, value in environ.items() if name.endswith("_proxy") and value}
    )
    if scheme not in found or proxy_bypass_environment(f"{host}:{port}", found):
        return None
    return proxies.parse_proxy(found[scheme])


def connect(host: str, port: int, proxy: proxies.Proxy | None) -> socket.socket:
    """A TCP connection to ``host``, through ``proxy`` if there is one. Raises CommandError ``network``."""
    place = f"{host}:{port}"
    if proxy and proxy.scheme != "http":
        raise CommandError("network", f"this command speaks to http proxies only, not {proxy.scheme}", where=place)
    via = f" through the proxy {proxy.host}:{proxy.port}" if proxy else ""
    try:
        stream = socket.create_connection((proxy.host.strip("[]"), proxy.port) if proxy else (host, port), TIMEOUT)
        if proxy:
            _tunnel(stream, f"[{host}]:{port}" if ":" in host else place, proxy)
    except OSError as error:
        raise CommandError("network", f"no connection{via}", where=place, why=str(error)) from error
    return stream


def _tunnel(stream: socket.socket, target: str, proxy: proxies.Proxy) -> None:
    """Have the proxy connect to ``target``. Raises OSError with the proxy's answer."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    stream.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = stream.recv(4096)
        if not part:
            break
        answer += part
    status = answer.split(b"\r\n")[0].decode(errors="replace")
    if " 200" not in status:
        raise OSError(f"the proxy answers: {status or 'nothing'}")


def chain(host: str, port: int, proxy: proxies.Proxy | None) -> list[bytes]:
    """The DER certificates that a TLS server sends, its own first; nothing is verified.

    Python 3.9 can tell the server's own only. Raises CommandError ``network``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # looked at only; nothing is sent over this connection
    with connect(host, port, proxy) as stream:
        try:
            with context.wrap_socket(stream, server_hostname=host) as tls:
                inner: Any = getattr(tls, "_sslobj", None)
                if hasattr(inner, "get_unverified_chain"):  # public from Python 3.13, there since 3.10
                    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain() or ()]
                own = tls.getpeercert(binary_form=True)
                return [own] if own else []
        except OSError as error:
            raise CommandError("network", "no TLS there", where=f"{host}:{port}", why=str(error)) from error


def verdict(host: str, port: int, proxy: proxies.Proxy | None, cafile: str) -> str | None:
    """Why a client that trusts ``cafile`` refuses the server; None if it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=cafile)
        with connect(host, port, proxy) as stream, context.wrap_socket(stream, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:
        return str(error)
