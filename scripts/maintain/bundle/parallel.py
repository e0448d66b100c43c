"""Do work in several processes, as many as there are cores. Standard library only.

Threads would be slower than one alone: unpacking ten thousand small files is Python code that holds the interpreter's
lock. A child of ``fork`` inherits the lock on the prefix, so no other install starts before the last of them has ended.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from maintain.lib.errors import ToolError

T = TypeVar("T")
MOST = 4
"""More processes than this wait for the disk."""


def each(work: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
    """What ``work`` returns for each item, as JSON knows it, in any order; raises the first ToolError of them."""
    count = min(MOST, os.cpu_count() or 1, len(items))
    if count < 2 or not hasattr(os, "fork"):
        return [work(item) for item in items]
    parent = os.getpid()
    children: dict[int, int] = {}
    try:
        for number in range(count):
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                _child(work, items[number::count], writer, parent)
            os.close(writer)
            children[pid] = reader
        return [result for reader in children.values() for result in _received(reader)]
    finally:
        for pid, reader in children.items():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            with suppress(OSError):
                os.close(reader)


def _child(work: Callable[[T], Any], items: Sequence[T], writer: int, parent: int) -> None:
    """Work, send the results and end; nothing of the parent's cleaning up is done twice."""
    found: dict[str, Any] = {"results": []}
    try:
        for item in items:
            if os.getppid() != parent:
                break  # it was killed
            found["results"].append(work(item))
    except ToolError as error:
        found = {"error": error.as_dict()}
    except BaseException as error:
        found = {"error": {"error": "command-failed", "what": "a package cannot be unpacked", "why": repr(error)}}
    with suppress(OSError), open(writer, "w", encoding="utf-8") as stream:
        json.dump(found, stream)
    os._exit(0)


def _received(reader: int) -> list[Any]:
    with open(reader, encoding="utf-8", closefd=False) as stream:
        text = stream.read()
    if not text:
        raise ToolError(
            "command-failed", "a process that unpacked packages was killed", fix="run the same command again"
        )
    found = json.loads(text)
    if error := found.get("error"):
        more = {key: error.get(key) for key in ("where", "why", "fix")}
        raise ToolError(error["error"], error["what"], **more)
    return list(found["results"])
