"""Byte code that a bundle brings, so that the target need not compile. Standard library only.

One member per package, ``byte-code/NAME-VERSION-BUILD.zst``: the length of the first of two zstd frames (4 bytes,
little endian); that frame, a JSON object of source -> bytes of its byte code; and the byte code of all of them in that
order, compressed against the sources, which the target has and whose names and texts byte code repeats: a sixth less.
Each names its source's time and size (PEP 552), which an archive fixes: an edited source is still noticed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from maintain.bundle.link import Json, PackageError, make
from maintain.install import bytecode

LENGTH = 4


class Decompress(Protocol):
    """zstd, against a prefix that was known when it was compressed."""

    def __call__(self, stream: BinaryIO, prefix: bytes = b"") -> BinaryIO:
        """The decompressed stream."""


def member(package: Json) -> str:
    """The member's name for the package with this record."""
    return f"byte-code/{package['name']}-{package['version']}-{package['build']}.zst"


def portable(record: Json, python: str, *, windows: bool = os.name == "nt") -> dict[str, str]:
    """Source -> byte code of a package's modules that are the same in every prefix; links are left to the target."""
    links = {path["_path"] for path in record["paths_data"]["paths"] if path["path_type"] == "softlink"}
    jobs = bytecode.jobs(record, python, windows=windows)
    return {job.source: job.pyc for job in jobs if job.portable and job.source not in links}


def place(
    stream: BinaryIO, folder: Path, record: Json, python: str, modules: Mapping[str, bytes], decompress: Decompress
) -> None:
    """Write a package's byte code beside its ``modules`` in ``folder`` and add it to ``record``.

    Raises :class:`PackageError` where it is not for these sources, and OSError.
    """
    known = portable(record, python)
    length = int.from_bytes(stream.read(LENGTH), "little")
    sizes: dict[str, int] = json.loads(decompress(io.BytesIO(stream.read(length))).read())
    if unknown := sizes.keys() - (known.keys() & modules.keys()):
        raise PackageError(f"{record['name']} has no module {min(unknown)}")
    prefix = b"".join(modules[source] for source in sizes)
    made: set[str] = set()
    with io.BufferedReader(cast(io.RawIOBase, decompress(stream, prefix))) as data:
        for source, size in sizes.items():
            full = f"{folder}/{known[source]}"
            if (parent := os.path.dirname(full)) not in made:  # noqa: PTH120 - plain strings: there are thousands
                make(str(folder), parent)
                made.add(parent)
            with suppress(FileNotFoundError):  # another package has the same module
                os.unlink(full)  # noqa: PTH108
            with open(full, "xb", buffering=0) as target:  # noqa: PTH123
                if target.write(data.read(size)) != size:
                    raise PackageError(f"the byte code of {record['name']} is cut")
    bytecode.add(record, [known[source] for source in sizes])
