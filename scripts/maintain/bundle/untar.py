"""Read a tar from a stream, in its order. Standard library only.

:mod:`tarfile` does it too, and takes half of the time of an installation for it: it is made to write, seek and guess.
The formats that conda packages have: ustar and pax (POSIX.1-2001) and GNU's long names. The archive has been
verified, so headers' check sums are not looked at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

BLOCK = 512
FILES = frozenset((b"0", b"\0", b"7"))


class Member:
    """One member; :meth:`read` gives its content until the next one is asked for."""

    __slots__ = ("_stream", "executable", "kind", "left", "link", "mtime", "name")

    def __init__(self, stream: BinaryIO, header: bytes, more: dict[bytes, bytes]) -> None:
        name, folder = _text(header[:100]), _text(header[345:500])
        if folder and header[257:263] == b"ustar\0":  # GNU's headers have dates there
            name = b"%b/%b" % (folder, name)
        self.name = more.get(b"path", name).decode("utf-8", "surrogateescape").rstrip("/")
        self.link = more.get(b"linkpath", _text(header[157:257])).decode("utf-8", "surrogateescape")
        self.kind = header[156:157]
        self.executable = bool(_number(header[100:108]) & 0o100)
        self.mtime = float(more.get(b"mtime", b"0")) or _number(header[136:148])
        self.left = int(more.get(b"size", b"0")) or _number(header[124:136])
        self._stream = stream

    @property
    def file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind in FILES

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes of the content, or what is left of it; EOFError if the archive is cut."""
        count = self.left if size < 0 else min(size, self.left)
        data = self._stream.read(count)
        if len(data) != count:
            raise EOFError("the archive is cut")
        self.left -= count
        return data


def untar(source: BinaryIO) -> Iterator[Member]:
    """The members. Raises EOFError and ValueError for what is no tar."""
    stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, source), 1 << 17))
    more: dict[bytes, bytes] = {}
    while (header := stream.read(BLOCK)).strip(b"\0"):
        if len(header) != BLOCK:
            raise EOFError("the archive is cut")
        member = Member(stream, header, more)
        padding = -member.left % BLOCK
        if member.kind in (b"x", b"L", b"K"):
            data = member.read()
            if member.kind == b"x":
                more.update(_records(data))
            else:
                more[b"path" if member.kind == b"L" else b"linkpath"] = _text(data)
        else:
            more = {}
            if member.kind != b"g":
                yield member
            while member.left:
                member.read(1 << 20)
        stream.read(padding)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """An octal number, or GNU's binary one for what is too large for it."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(_text(field).strip() or b"0", 8)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The key words of a pax header: ``LENGTH KEY=VALUE`` and a line break each."""
    while data:
        length, _, _ = data.partition(b" ")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        yield key, value
        data = data[int(length) :]
