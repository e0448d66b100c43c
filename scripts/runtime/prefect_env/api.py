"""What a Prefect server answers: ``/health`` alone is true where a misfit makes every other route answer 500."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable

ROUTES = (("/health", None), ("/ready", None), ("/admin/version", None), ("/flows/filter", {"limit": 1}))
"""What is asked, with the body of a POST; 2.8.6 has no ``/ready`` and answers 404 there."""


def answers(ask: Callable[[str, Any], int]) -> dict[str, int]:
    """The HTTP status of each of :data:`ROUTES` as ``ask(path, body)`` tells it; 0 is for no answer."""
    return {path: ask(path, body) for path, body in ROUTES}


def dead(found: Mapping[str, int]) -> str:
    """The answers in words if the server is up and dead: healthy, and another route breaks or hangs; else ""."""
    if found.get("/health") != 200 or all(0 < status < 500 for status in found.values()):
        return ""
    return ", ".join(f"{path} {status or 'no answer'}" for path, status in found.items())


def direct(url: str, seconds: float = 10) -> Callable[[str, Any], int]:
    """An ``ask`` for :func:`answers` of the API at ``url`` on this machine, past every proxy."""
    import urllib.error  # here, since the doctor, which must start quickly, needs none of it
    import urllib.request
    from http.client import HTTPException

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, body: Any) -> int:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with opener.open(request, timeout=seconds) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, HTTPException):
            return 0

    return ask
