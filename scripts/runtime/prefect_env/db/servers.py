"""Prefect servers on this machine that use a database.

A server of 2.x opens its SQLite file for moments only, so that neither the file's lock nor its open handles tell.
"""

from __future__ import annotations

import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, InvalidURL
from pathlib import Path
from urllib.parse import urlsplit

from prefect_env import api, prefect_settings
from prefect_env.console import CommandError
from prefect_env.prefect_settings import Settings
from prefect_env.versions import Version

SERVER = re.compile(rb"prefect\.(server|orion)\.api\.server|/prefect\0(--?[^\0]+\0)*(server|orion)\0start\0")
"""Its command line: uvicorn with Prefect's application, or ``prefect server start``."""

HEALTHY = "true"


def of_file(path: Path) -> list[str]:
    """The servers, among the processes whose variables this user may read, whose settings lead to ``path``."""
    found = []
    for process, settings in _running():
        for version in (None, Version("2.0")):  # the older takes an orion.db
            database = prefect_settings.database(settings, version)
            if database.file and os.path.realpath(database.file) == str(path):
                found.append(f"a Prefect server (process {process})")
                break
    return found


def _running() -> Iterator[tuple[str, Settings]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or it is another user's
            if not SERVER.search((folder / "cmdline").read_bytes()):
                continue
            lines = (folder / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
            environ = dict(line.partition("=")[::2] for line in lines if line)
            if environ.get("HOME"):
                environ.setdefault("PREFECT_HOME", f"{environ['HOME']}/.prefect")
            yield folder.name, prefect_settings.load(environ, (folder / "cwd").resolve(), None)


def none_answers(settings: Settings, where: str) -> None:
    """Raise ``busy`` if a server answers where a client with ``settings`` looks for one on this machine.

    It may be one that :func:`of_file` cannot see: in a container, of another user, or not on Linux.
    """
    value = settings.get("PREFECT_API_URL")
    host, port = settings.get("PREFECT_SERVER_API_HOST"), settings.get("PREFECT_SERVER_API_PORT")
    url = value.text if value else f"http://{host.text if host else '127.0.0.1'}:{port.text if port else 4200}/api"
    url = url.rstrip("/")
    try:
        if urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):  # noqa: S104 - compared only
            return
    except ValueError:
        return
    said = _says(url)
    if said is None:
        return
    found = api.dead(api.answers(api.direct(url, 2))) if said == HEALTHY else ""
    raise CommandError(
        "busy",
        f"a Prefect server answers on {url}" if said == HEALTHY else f"a server answers on {url}: {said}",
        where=where,
        why="it may use this database" + (f", though it is up and dead: {found}" if found else ""),
        fix="stop it; if it uses another database, add --ignore-server",
    )


def _says(url: str) -> str | None:
    """What ``/health`` of the API at ``url`` answers, if anybody is there: a server that is dead has its files open."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health", timeout=2) as answer:
            return HEALTHY if answer.read(5).strip() == b"true" else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except urllib.error.URLError as error:  # the connection was not made, unless it is its certificate
        return str(error.reason) if isinstance(error.reason, ssl.SSLError) else None
    except (ValueError, InvalidURL):
        return None
    except (OSError, HTTPException) as error:  # it was, and then came nothing, or no HTTP
        return str(error) or type(error).__name__
