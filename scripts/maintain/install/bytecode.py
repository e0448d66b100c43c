"""Byte code for every module, recorded as conda records it, and compiled once per package and Python.

py-rattler compiles none, and a prefix that its users cannot write pays for that at every start. Byte code holds no
path that matters (the import system sets ``co_filename``), so what one install compiled the next ones link.
It names its source's time and size, as conda's does: an edited source is still noticed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maintain.install.conda_meta import Record
from maintain.lib.errors import ToolError
from maintain.lib.files import from_oserror

_WORKER = """
import os, py_compile, sys
for line in sys.stdin:
    source = line.rstrip("\\n")
    try:
        py_compile.compile(source, dfile=os.path.join(sys.argv[1], source), doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError):
        pass  # a template, or a test of the parser: conda leaves it uncompiled too
"""


Elsewhere = Callable[[Sequence[str]], list[str]]
"""Makes of a command the one that runs it where the environment's Python does; ``list``: as it is."""


@dataclass(frozen=True)
class Job:
    """One module of a package: paths relative to the prefix, with forward slashes."""

    source: str
    pyc: str
    portable: bool
    """False when the prefix is written into the source, so that its byte code belongs to this prefix alone."""


def compile_prefix(
    folder: Path,
    prefix: Path,
    records: dict[str, Record],
    cache: Path,
    step: Callable[[int], None],
    inside: Elsewhere = list,
) -> None:
    """Compile what has no byte code in ``folder``, the environment that will be ``prefix``, and add it to ``records``.

    ``step`` is called with numbers of modules done; ``inside`` says where the environment's Python runs.
    Raises ``unsupported-host`` if the environment's Python
    does not run.
    """
    python = records.get("python")
    if python is None:
        return
    store = cache / python["sha256"]
    todo: dict[str, list[Job]] = {}
    left_over: dict[str, list[Job]] = {}
    for name, record in records.items():
        todo[name] = own = jobs(record, str(python["version"]))
        left = _link(folder, store / record["sha256"], own)
        step(len(own) - len(left))
        if left:
            left_over[name] = left
    _compile(folder, prefix, [job.source for jobs in left_over.values() for job in jobs], step, inside)
    for name, left in left_over.items():
        _keep(folder, store / records[name]["sha256"], left)
    for name, own in todo.items():
        add(records[name], [job.pyc for job in own if os.path.exists(f"{folder}/{job.pyc}")])  # noqa: PTH110 - thousands


def add(record: Record, made: Sequence[str]) -> None:
    """Record byte code as conda does."""
    record["files"] += made
    record["paths_data"]["paths"] += [{"_path": pyc, "path_type": "pyc_file"} for pyc in made]


def jobs(record: Record, python: str, *, windows: bool = os.name == "nt") -> list[Job]:
    """The modules of a package that its own files bring no byte code for."""
    major, minor = python.split(".")[:2]
    library = re.compile(r"Lib/.+\.py" if windows else rf"lib/python{major}\.{minor}t?/.+\.py")
    have = set(record["files"])
    patched = {path["_path"] for path in record["paths_data"]["paths"] if path.get("prefix_placeholder")}
    found = []
    for source in record["files"]:
        if library.fullmatch(source):
            folder, _, module = source.rpartition("/")
            pyc = f"{folder}/__pycache__/{module.removesuffix('.py')}.cpython-{major}{minor}.pyc"
            if pyc not in have:
                found.append(Job(source, pyc, source not in patched))
    return found


def _link(folder: Path, store: Path, jobs: Sequence[Job]) -> list[Job]:
    """Take byte code from ``store``; returns the jobs that it knows nothing about."""
    kept = _index(store)
    left = []
    for directory in {os.path.dirname(job.pyc) for job in jobs if job.source in kept}:  # noqa: PTH120
        (folder / directory).mkdir(exist_ok=True)
    for job in jobs:
        entry = kept.get(job.source)
        # A source that is known not to compile has an entry without a file.
        if not (entry and (entry["file"] is None or _place(f"{store}/{entry['file']}", entry, folder, job))):
            left.append(job)
    return left


def _index(store: Path) -> dict[str, Any]:
    try:
        content = json.loads((store / "index.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _place(stored: str, entry: dict[str, Any], folder: Path, job: Job) -> bool:
    """Link ``stored`` (or copy it, with the time of a source that was copied too); False if it is not intact."""
    source, target = f"{folder}/{job.source}", f"{folder}/{job.pyc}"  # no Path: an environment has 5,000 of them
    try:
        if os.stat(stored).st_size != entry["size"]:  # noqa: PTH116
            return False
        time = int(os.stat(source).st_mtime)  # noqa: PTH116
        if time == entry["mtime"]:
            try:
                os.link(stored, target)
                return True
            except FileExistsError:
                os.unlink(target)  # noqa: PTH108
            except FileNotFoundError:
                raise
            except OSError:  # another file system, or too many links
                pass
        code = bytearray(Path(stored).read_bytes())
        code[8:12] = (time & 0xFFFFFFFF).to_bytes(4, "little")  # bytes 8 to 11 of a .pyc: PEP 552
        Path(target).write_bytes(code)
    except FileNotFoundError:
        return False
    return True


def _compile(
    folder: Path,
    prefix: Path,
    sources: Sequence[str],
    step: Callable[[int], None],
    inside: Elsewhere = list,
) -> None:
    """Compile ``sources`` with the environment's own Python, one process per core."""
    if not sources:
        return
    python = folder / ("python.exe" if os.name == "nt" else "bin/python")
    by_size = sorted(sources, key=lambda source: (folder / source).stat().st_size)
    workers = min(os.cpu_count() or 1, len(sources))

    def work(share: Sequence[str]) -> None:
        # -I: nothing of the user's settings; -S: nothing of site-packages, which is being made.
        command = inside([str(python), "-I", "-S", "-W", "ignore", "-c", _WORKER, str(prefix)])
        try:
            with subprocess.Popen(
                command, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                _, complaint = process.communicate("\n".join(share))
                code = process.returncode
        except OSError as error:
            code, complaint = 1, str(error)
        if f"[Errno {errno.ENOSPC}]" in complaint:
            raise from_oserror(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder.parent)
        if code:
            raise ToolError(
                "unsupported-host",
                "the environment's Python does not run on this host",
                where=str(python),
                why=complaint.strip().splitlines()[-1] if complaint.strip() else f"exit code {code}",
                fix="install on a newer system, or on a file system where programs may run",
            )
        step(len(share))

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work, by_size[number::workers]) for number in range(workers)]:
            future.result()


def _keep(folder: Path, store: Path, jobs: Sequence[Job]) -> None:
    """Put what was compiled for ``jobs`` into ``store``; the index is replaced last."""
    store.mkdir(parents=True, exist_ok=True)
    kept = _index(store)
    for job in jobs:
        if not job.portable:
            continue
        pyc = folder / job.pyc
        entry: dict[str, Any] = {"file": None}
        if pyc.exists():
            name = hashlib.sha256(job.source.encode()).hexdigest()[:32]
            (store / name).unlink(missing_ok=True)
            try:
                os.link(pyc, store / name)
            except OSError:
                shutil.copy2(pyc, store / name)
            source = (folder / job.source).stat()
            entry = {"file": name, "size": pyc.stat().st_size, "mtime": int(source.st_mtime)}
        kept[job.source] = entry
    temporary = store / f"index.{os.getpid()}"
    temporary.write_text(json.dumps(kept), encoding="utf-8")
    temporary.replace(store / "index.json")
