"""Make the byte code that a bundle brings (:mod:`maintain.bundle.pyc` says in which form).

Byte code depends on Python's version and on nothing of the platform, so a bundle for another one is compiled by the
same release of Python for this host, which the lock has as well. Each package is compiled in a process of its own, in
the order of its archive: a few modules come out differently after others.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import zstandard

from maintain.bundle import engine, pyc
from maintain.bundle.link import Json, Place, metadata, parts, site, untar
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write
from maintain.lib.paths import cache_dir

LEVEL = 12
"""zstd level: 5 s for an environment; 9 makes a twentieth more in half the time."""
WINDOW = 26
"""The largest window, as a power of two: what the target needs in memory."""
_WORKER = """
import importlib.util, marshal, sys
for line in sys.stdin.buffer:
    time, size, path = line.rstrip(b"\\n").split(b" ", 2)
    try:
        code = marshal.dumps(compile(sys.stdin.buffer.read(int(size)), path.decode(), "exec", dont_inherit=True))
        parts = (0, int(time) & 0xFFFFFFFF, int(size))
        code = importlib.util.MAGIC_NUMBER + b"".join(part.to_bytes(4, "little") for part in parts) + code
    except (SyntaxError, ValueError, RecursionError):
        code = b""  # a template, or a test of the parser
    sys.stdout.buffer.write(len(code).to_bytes(4, "little") + code)
"""


@contextmanager
def interpreter(built: bytes) -> Iterator[Path | None]:
    """The Python of an engine for this host, unpacked for a while; None if it does not run here."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-pack-") as folder:
        with tarfile.open(fileobj=io.BytesIO(built)) as members:
            members.extractall(folder, filter="data")
        python = Path(folder, "python.exe" if os.name == "nt" else "bin/python")
        try:
            subprocess.run([python, "-I", "-S", "-c", _WORKER], input=b"", check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            yield None
        else:
            yield python


def compiled(python: Path, place: Place, packages: Mapping[Path, Json], version: str) -> dict[str, bytes]:
    """The members with byte code for these archives and their records; what was made once is kept in the cache.

    ``version`` is that of ``python`` (``3.13.9``), ``place`` is for the target's platform.
    """
    store = cache_dir() / "byte-code"
    made_by = hashlib.sha256(f"{version} {_WORKER} {LEVEL} {WINDOW} {Path(pyc.__file__).read_text()}".encode())

    def one(item: tuple[Path, Json]) -> tuple[str, bytes]:
        archive, record = item
        key = made_by.copy()
        key.update(f"{record['sha256']} {place.windows} {place.site_packages}".encode())
        kept = store / key.hexdigest()
        return pyc.member(record), _kept(kept) or _keep(kept, _make(python, place, archive, record))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {name: data for name, data in pool.map(one, packages.items()) if len(data) > 1}


def _kept(path: Path) -> bytes:
    """What :func:`_keep` wrote; nothing if there is none or it is damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return b""
    return raw[32:] if hashlib.sha256(raw[32:]).digest() == raw[:32] else b""


def _keep(path: Path, data: bytes) -> bytes:
    atomic_write(path, hashlib.sha256(data).digest() + data)
    return data


def _make(python: Path, place: Place, archive: Path, record: Json) -> bytes:
    """The member for one package; a single zero where there is nothing to compile."""
    sources: dict[str, tuple[int, bytes]] = {}
    with archive.open("rb") as stream:
        info, files = parts(stream, engine.decompress, conda=archive.suffix == ".conda")
        paths, noarch = metadata(info)
        targets = {name: site(name, place) if noarch.get("type") == "python" else name for name in paths}
        entries = [path | {"_path": targets[name]} for name, path in paths.items()]
        described = {"files": [*targets.values()], "paths_data": {"paths": entries}}
        wanted = pyc.portable(described, place.python, windows=place.windows)
        with untar(files) as members:
            for member in members:
                target = targets.get(member.name.removeprefix("./"), "")
                data = members.extractfile(member) if target in wanted and member.isfile() else None
                if data:
                    sources[target] = (int(member.mtime), data.read())
    feed = b"".join(b"%d %d %b\n%b" % (time, len(data), path.encode(), data) for path, (time, data) in sources.items())
    command = [str(python), "-I", "-S", "-W", "ignore", "-c", _WORKER]
    try:
        output = subprocess.run(command, input=feed, check=True, capture_output=True).stdout
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace")[-500:]
        raise ToolError("command-failed", f"{record['name']} cannot be compiled", why=why) from error
    codes, at = {}, 0
    for path in sources:
        size = int.from_bytes(output[at : at + 4], "little")
        if size:
            codes[path] = output[at + 4 : at + 4 + size]
        at += 4 + size
    return _packed(codes, b"".join(sources[path][1] for path in codes)) if codes else b"\0"


def _packed(codes: Mapping[str, bytes], prefix: bytes) -> bytes:
    data = b"".join(codes.values())
    window = min(WINDOW, max(10, (len(prefix) + len(data)).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=window, write_checksum=True)
    against = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    sizes = json.dumps({path: len(code) for path, code in codes.items()}, separators=(",", ":")).encode()
    index = zstandard.ZstdCompressor(level=LEVEL).compress(sizes)
    body = zstandard.ZstdCompressor(dict_data=against, compression_params=parameters).compress(data)
    return len(index).to_bytes(pyc.LENGTH, "little") + index + body
