"""Make Debian's programs and libraries find their libraries, and OpenSSL its files, inside the prefix."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maintain.lib.errors import ToolError

MAGIC = b"\x7fELF"
PT_LOAD, PT_NOTE, PF_X, PF_R, PAGE = 1, 4, 1, 4, 0x1000
LEA = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d].{4}", re.DOTALL)
"""``lea`` of a 64-bit register relative to the next instruction: REX.W, opcode, ModRM, 32-bit distance."""
LEA_SIZE = 7


def with_rpath(data: bytes, path: str) -> bytes:
    """The ELF file ``data``, to be at ``path`` in the prefix, with a DT_RPATH that leads to the prefix's lib/.

    DT_RPATH, as conda's own packages have it, and not DT_RUNPATH: only the former is searched before
    LD_LIBRARY_PATH, and only the former also serves what the program loads later (extension modules of wheels).
    """
    origin = os.path.relpath("lib", PurePosixPath(path).parent)
    rpath = "$ORIGIN" if origin == "." else f"$ORIGIN/{origin}"
    with tempfile.TemporaryDirectory(prefix="prefect-env-elf-") as folder:
        file = Path(folder, PurePosixPath(path).name)
        file.write_bytes(data)
        if not _patchelf(file, "--print-needed"):
            return data
        _patchelf(file, "--force-rpath", "--set-rpath", rpath)
        return file.read_bytes()


def _patchelf(file: Path, *arguments: str) -> str:
    done = subprocess.run(["patchelf", *arguments, str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError("command-failed", f"patchelf {arguments[0]} failed on {file.name}", why=done.stderr.strip())
    return done.stdout


def with_prefix_strings(data: bytes, places: dict[str, str]) -> bytes:
    """The x86_64 library ``data`` with paths compiled into it replaced by longer ones under the prefix placeholder.

    ``places`` maps each whole string of the library to what it becomes; those are too long to take the old one's
    room, so they go into a new read-only segment at the end of the file, and every instruction that loads the
    address of an old string (``lea reg, [rip + distance]``) is pointed at the new one. The segment takes the
    program header of PT_NOTE, which only repeats the build id. The installer then finds the placeholder as in any
    binary of conda-forge. Raises ``check-failed`` if a string or its instructions are not found, or if it is
    referred to in a way that this does not know.
    """
    image = bytearray(data)
    headers = _program_headers(data)
    note = next((header for header in headers if header.kind == PT_NOTE), None)
    loads = [header for header in headers if header.kind == PT_LOAD]
    if note is None or note.at < loads[-1].at:  # loadable segments must stay in ascending order
        raise _unknown("it has no PT_NOTE header behind its PT_LOAD headers")
    code = next(load for load in loads if load.flags & PF_X)
    text = data[code.offset : code.offset + code.size]
    offset = _up(len(data))
    address = _up(max(load.address + load.memory for load in loads))
    added = b""
    for old, new in places.items():
        target = _address_of(data, loads, old)
        instructions = [
            match.start()
            for match in LEA.finditer(text)
            if code.address + match.end() + struct.unpack_from("<i", match[0], 3)[0] == target
        ]
        if not instructions or struct.pack("<Q", target) in data:
            raise _unknown(f"{old!r} is loaded by {len(instructions)} instructions, or by a pointer")
        for start in instructions:
            distance = address + len(added) - (code.address + start + LEA_SIZE)
            struct.pack_into("<i", image, code.offset + start + 3, distance)
        added += new.encode() + b"\0"
    struct.pack_into("<IIQQQQQQ", image, note.at, PT_LOAD, PF_R, offset, address, address, len(added), len(added), PAGE)
    return bytes(image).ljust(offset, b"\0") + added


@dataclass(frozen=True)
class _Header:
    """A program header, found ``at`` this offset of the file; the rest is its content."""

    at: int
    kind: int
    flags: int
    offset: int
    address: int
    size: int
    memory: int


def _program_headers(data: bytes) -> list[_Header]:
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = []
    for at in range(start, start + size * count, size):
        kind, flags, offset, address, _, in_file, memory, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        headers.append(_Header(at, kind, flags, offset, address, in_file, memory))
    return headers


def _address_of(data: bytes, loads: list[_Header], text: str) -> int:
    """The address at which the string ``text`` is loaded; it must be there once."""
    whole = b"\0" + text.encode() + b"\0"
    if data.count(whole) != 1:
        raise _unknown(f"it holds {text!r} {data.count(whole)} times")
    at = data.index(whole) + 1
    return next(load.address + at - load.offset for load in loads if load.offset <= at < load.offset + load.size)


def _up(value: int) -> int:
    return -(-value // PAGE) * PAGE


def _unknown(why: str) -> ToolError:
    return ToolError(
        "check-failed",
        "Debian's library is not built as this expects it",
        where="libcrypto.so.3",
        why=why,
        fix="adapt maintain/channel/elf.py to it",
    )
