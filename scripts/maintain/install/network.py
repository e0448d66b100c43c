"""The network as py-rattler sees it: one client for repodata, probes and packages.

py-rattler reads the configuration that pixi reads (``/etc/pixi``, ``~/.config/pixi``, ``~/.pixi`` and rattler's own):
mirrors, proxies, TLS roots, credentials. ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are
honoured too, so a host where pixi works is a host where this works.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from rattler import Config
from rattler.exceptions import ConfigError
from rattler.networking import Client
from rattler.package_streaming import download_to_writer

from maintain.lib.errors import ToolError

CONDA_FORGE = "https://conda.anaconda.org/conda-forge"

_SECRETS = re.compile(r"(?<=//)[^/@\s]+@|(?<=/t/)[^/\s]+(?=/)")


def masked(text: str) -> str:
    """``text`` without the credentials that its URLs may hold (``user:password@``, ``/t/TOKEN/``)."""
    return _SECRETS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)


def configuration() -> Config:
    """The user's and the site's settings for conda tools; ``bad-file`` where they cannot be read."""
    try:
        return Config.load_from_default_locations("pixi")
    except ConfigError as error:
        files = ", ".join(str(path) for path, _ in Config.config_search_paths("pixi") if path.exists())
        raise ToolError("bad-file", "pixi's configuration cannot be read", where=files, why=str(error)) from error


def client(config: Config, headers: dict[str, str] | None = None) -> Client:
    """A client without retries of its own: the caller knows what is worth another try."""
    return Client.from_config(config, max_retries=0, headers=headers)


def status(error: Exception) -> int | None:
    """The HTTP status that py-rattler names in ``error``, None for trouble below HTTP."""
    match = re.search(r"HTTP status (?:client|server) error \((\d{3}) ", str(error))
    return int(match[1]) if match else None


class _Head:
    """Takes what comes first and hangs up: a server without ranges would send all of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = b""

    def write(self, chunk: bytes) -> int:
        self.data += chunk
        if len(self.data) >= self.limit:
            raise EOFError
        return len(chunk)


async def head(config: Config, url: str, limit: int, timeout: timedelta) -> bytes:
    """The first ``limit`` bytes of ``url``; raises what py-rattler raises, or TimeoutError."""
    sink = _Head(limit)
    try:
        ranged = client(config, {"Range": f"bytes=0-{limit - 1}"})
        await asyncio.wait_for(download_to_writer(ranged, url, sink), timeout.total_seconds())
    except EOFError:
        pass
    return sink.data[:limit]
