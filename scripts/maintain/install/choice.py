"""Which channel to install from, and why: one answer for ``scripts/install`` and ``scripts/demo``."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rattler import Channel, Config

from maintain.install.network import CONDA_FORGE, configuration, head, masked, status
from maintain.lib.errors import ToolError

VARIABLE = "PREFECT_ENV_CHANNEL"
MARKER = "stand-in.json"
PROBE = timedelta(seconds=5)


@dataclass(frozen=True)
class Choice:
    """A channel (``https://`` or ``file://``, no slash at the end), whether it is a stand-in, and why it was taken."""

    channel: str
    stand_in: bool
    why: str

    @property
    def folder(self) -> Path | None:
        """The channel's folder, None when it is served over the network."""
        return folder_of(self.channel)

    def __str__(self) -> str:
        return f"channel: {masked(str(self.folder or self.channel))} ({self.why})"


def choose(
    explicit: str | None = None,
    *,
    lines: Sequence[str] = ("3",),
    environments: Sequence[str] = (),
    genuine: bool = False,
) -> Choice:
    """The channel to install from; the first that applies:

    1. ``explicit`` (``--channel``), 2. ``PREFECT_ENV_CHANNEL``, 3. conda-forge through the mirror that pixi's
    configuration names, 4. conda-forge itself when it answers, 5. the stand-in, built now with ``lines`` and with
    ``environments`` at their locked versions; none is built for who wants ``genuine`` packages.
    Raises ``bad-usage`` (no such folder), ``network``, and whatever building the stand-in raises.
    """
    config = configuration()
    for value, why in ((explicit, "--channel"), (os.environ.get(VARIABLE), VARIABLE)):
        if value:
            return _given(value, why, config)
    for upstream, mirrors in config.mirrors.items():
        if CONDA_FORGE.startswith(upstream.rstrip("/")) and mirrors:
            return Choice(CONDA_FORGE, False, f"mirrored by {masked(mirrors[0])} in pixi's configuration")
    try:
        asyncio.run(head(config, f"{CONDA_FORGE}/noarch/repodata.json.zst", 1, PROBE))
        return Choice(CONDA_FORGE, False, "conda-forge answers")
    except (RuntimeError, OSError) as error:  # TimeoutError is an OSError
        if genuine:
            raise ToolError(
                "network",
                "conda-forge cannot be reached and no mirror is set",
                where=CONDA_FORGE,
                why=masked(str(error)) or "no answer in time",
                fix=f"name a mirror with --channel or {VARIABLE}; without one, scripts/rehearse runs wheels instead",
            ) from error
    from maintain.channel.build import build_channel

    return Choice(
        build_channel(lines, environments=environments).as_uri(),
        True,
        "conda-forge cannot be reached and no mirror is set: the stand-in, for trial only",
    )


def _given(value: str, why: str, config: Config) -> Choice:
    if "://" not in value and (Path(value).exists() or any(mark in value for mark in ("/", "\\", "."))):
        folder = Path(value).expanduser().absolute()
        if not folder.is_dir():
            raise ToolError("bad-usage", "there is no such channel", where=str(folder), why=f"{why} names it")
        value = folder.as_uri()
    channel = value if "://" in value else Channel(value).base_url
    channel = channel.rstrip("/")
    stand_in = _is_stand_in(channel, config)
    return Choice(channel, stand_in, f"{why}; a stand-in, for trial only" if stand_in else why)


def _is_stand_in(channel: str, config: Config) -> bool:
    folder = folder_of(channel)
    if folder:
        return (folder / MARKER).is_file()
    try:
        found = asyncio.run(head(config, f"{channel}/{MARKER}", 4096, 4 * PROBE))
        return isinstance(json.loads(found), dict)
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, ValueError) or (isinstance(error, RuntimeError) and status(error) in (403, 404, 410)):
            return False  # a page of a proxy or nothing at all: an ordinary channel has no marker
        raise ToolError(
            "network",
            "the channel does not answer",
            where=masked(channel),
            why=masked(str(error)) or "no answer in time",
            fix="check the URL, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE, or name a mirror with --channel",
        ) from error


def folder_of(url: str) -> Path | None:
    """The local path of a ``file://`` URL, None for any other."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path)
    return Path(path.lstrip("/") if os.name == "nt" else path)
