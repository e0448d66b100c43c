"""The file format: an uncompressed tar of which every byte follows from its manifest. Standard library only.

::

    [head, 32 KiB]      installer only: a POSIX sh or cmd script that ends before the tar
    [delta.json]        delta only: the manifest hash of the bundle that has the absent members
    manifest.json       what the bundle is, and name, size and SHA-256 of every further member, in order
    manifest.sha256     the manifest's own hash
    [manifest.sig]      its Ed25519 signature (RFC 8032), 128 hex digits
    engine.tar.gz       Python, zstd and these modules, for a target that has none of them
    pixi-pack.json, environment.yml, explicit.txt, channel/...     what pixi-unpack, conda and micromamba read
    ...

Headers, padding, order and end are checked byte by byte, so a bundle is either what its manifest says or refused.
Volumes (``.001``, ``.002``, ...) are the same file cut into pieces.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError

HEAD = 32768
"""Bytes before the tar in an installer: a fixed number, so that head and tar do not depend on each other."""
BLOCK = 512
MANIFEST, CHECKSUM, SIGNATURE, DELTA = "manifest.json", "manifest.sha256", "manifest.sig", "delta.json"
ENGINE = "engine.tar.gz"
FORMAT = 1
MAX_MANIFEST = 64 << 20
CHUNK = 1 << 20
END = bytes(2 * BLOCK)

Json = dict[str, Any]


def header(name: str, size: int) -> bytes:
    """The only tar header (ustar, POSIX.1-1988) that this format has for a member: mode 644, no owner, no date."""
    folder, base = "", name
    if len(name) > 100:
        cut = name.rfind("/", 0, 156)
        folder, base = name[:cut], name[cut + 1 :]
    if len(base) > 100 or not name.isascii():
        raise ValueError(f"{name} does not fit into a tar header")
    none = b"0000000\0"
    start = base.encode().ljust(100, b"\0") + b"0000644\0" + 2 * none + b"%011o\0" % size + b"00000000000\0"
    end = b"0".ljust(101, b"\0") + b"ustar\x0000".ljust(72, b"\0") + 2 * none + folder.encode()
    end = end.ljust(BLOCK - 156, b"\0")
    return start + b"%06o\0 " % (sum(start) + sum(end) + 8 * 32) + end


def padding(size: int) -> bytes:
    """What follows a member of ``size`` bytes up to the next block."""
    return bytes(-size % BLOCK)


def dump(content: Json) -> bytes:
    """JSON in the one form that is accepted back."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


class Span(io.RawIOBase):
    """A range of bytes of several files in a row, as one read-only file; every span has a position of its own."""

    def __init__(self, files: Sequence[Path], start: int = 0, size: int | None = None) -> None:
        self.files = files
        self.sizes = [file.stat().st_size for file in files]
        self.start = start
        self.size = sum(self.sizes) - start if size is None else size
        self.position = 0
        self._open: tuple[int, io.FileIO] | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position from the start of the span."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as for any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` up to the end of the span, over the ends of the files: no header is cut by a volume's end."""
        view = memoryview(buffer)[: max(0, self.size - self.position)]
        done = 0
        at = self.start + self.position
        for number, size in enumerate(self.sizes):
            while at < size and done < len(view):
                if self._open is None or self._open[0] != number:
                    self._release()
                    self._open = (number, io.FileIO(self.files[number]))
                stream = self._open[1]
                stream.seek(at)
                count = stream.readinto(view[done:]) or 0
                if not count:
                    return done
                done, at, self.position = done + count, at + count, self.position + count
            at -= size
        return done

    def _release(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Close the file that is open."""
        self._release()
        super().close()


@dataclass(frozen=True)
class Member:
    """One file in a bundle; ``offset`` from the first byte of the first volume."""

    name: str
    size: int
    sha256: str
    offset: int


class Bundle:
    """An open bundle, installer or first volume. What the manifest says is trusted only after :meth:`verify`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = volumes(path)
        self.start = 0
        with self._span() as whole:
            first = whole.read(2)
            if first in (b"#!", b"@e"):  # sh, "@echo off"
                self.start = HEAD
            self.end = whole.size
            whole.seek(self.start)
            name, raw = self._first(whole)
            self.delta: Json | None = None
            if name == DELTA:
                self.delta = self._parse(raw, DELTA)
                name, raw = self._first(whole)
            if name != MANIFEST:
                raise self.refused(f"it begins with {name}, not with {MANIFEST}")
            self.raw_manifest = raw
            self.checksum = hashlib.sha256(raw).hexdigest()
            name, raw = self._first(whole)
            if name != CHECKSUM or raw != checksum_line(self.raw_manifest):
                raise self.refused(f"{MANIFEST} is not the file that {CHECKSUM} was made for")
            self.manifest = self._parse(self.raw_manifest, MANIFEST)
            self.signature: str | None = None
            at = whole.tell()
            if whole.read(100).rstrip(b"\0") == SIGNATURE.encode():
                whole.seek(at)
                self.signature = self._first(whole)[1].decode("ascii", "replace").strip()
                at = whole.tell()
        self.members = {member.name: member for member in self._members(at)}

    def refused(self, why: str) -> ToolError:
        """The error for a bundle that is not what it should be."""
        return ToolError(
            "hash-mismatch",
            "the bundle is damaged or was changed; nothing of it was used",
            where=str(self.path),
            why=why,
            fix="copy it again and compare it with its .sha256 file; if it stays so, ask who made it",
        )

    def _span(self) -> Span:
        return Span(self.files)

    def _first(self, whole: Span) -> tuple[str, bytes]:
        """The small member at the position of ``whole``, which moves behind it."""
        block = whole.read(BLOCK)
        name = block[:100].rstrip(b"\0").decode("ascii", "replace")
        digits = block[124:135]
        if not re.fullmatch(rb"[0-7]{11}", digits) or (size := int(digits, 8)) > MAX_MANIFEST:
            raise self.refused(f"no member at byte {whole.tell() - len(block)}: no bundle of prefect-env, or cut")
        if name not in (DELTA, MANIFEST, CHECKSUM, SIGNATURE) or block != header(name, size):
            raise self.refused(f"the header of {name!r} is not as written")
        data = b"".join(read(whole, size))
        if len(data) != size or whole.read(-size % BLOCK) != padding(size):
            raise self.refused(f"{name} is cut")
        return name, data

    def _parse(self, raw: bytes, name: str) -> Json:
        try:
            content = json.loads(raw)
        except ValueError as error:
            raise self.refused(f"{name}: {error}") from error
        if not isinstance(content, dict) or dump(content) != raw or content.get("format") != FORMAT:
            raise self.refused(f"{name} is not in the form that is written")
        return content

    def _members(self, at: int) -> Iterator[Member]:
        absent = set(self.delta["absent"]) if self.delta else set()
        seen: set[str] = set()
        try:
            for entry in self.manifest["members"]:
                name, size = str(entry["name"]), int(entry["size"])
                if not safe(name) or name in seen or not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) or size < 0:
                    raise self.refused(f"{name!r} is no name that a member may have")
                header(name, size)  # raises ValueError where they do not fit
                seen.add(name)
                if name not in absent:
                    yield Member(name, size, entry["sha256"], at + BLOCK)
                    at += BLOCK + size + len(padding(size))
        except (KeyError, TypeError, ValueError) as error:
            raise self.refused(f"{MANIFEST}: {error!r}") from error
        if absent - seen or at + len(END) != self.end:
            raise self.refused(f"it has {self.end} bytes, its manifest says {at + len(END)}")

    def open(self, name: str) -> io.BufferedReader:
        """A member to read from; KeyError if the bundle does not have it."""
        member = self.members[name]
        return io.BufferedReader(Span(self.files, member.offset, member.size), CHUNK)

    def read(self, name: str) -> bytes:
        """A small member's bytes, verified. Raises ``hash-mismatch`` and KeyError."""
        member = self.members[name]
        with self.open(name) as stream:
            data = stream.read()
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise self.refused(f"{name} does not have the sha256 of the manifest")
        return data

    def verify(self, only: Sequence[str] | None = None) -> None:
        """Compare every byte from the first header to the end with the manifest; ``hash-mismatch`` at the first wrong.

        ``only`` limits the hashing to these members; headers, padding and the end are compared always.
        """
        with self._span() as whole:
            for member in self.members.values():
                whole.seek(member.offset - BLOCK)
                if whole.read(BLOCK) != header(member.name, member.size):
                    raise self.refused(f"the header of {member.name} is not as written")
                if only is None or member.name in only:
                    digest = hashlib.sha256()
                    for chunk in read(whole, member.size):
                        digest.update(chunk)
                    if digest.hexdigest() != member.sha256:
                        raise self.refused(f"{member.name} does not have the sha256 of the manifest")
                whole.seek(member.offset + member.size)
                if b"".join(read(whole, -member.size % BLOCK)) != padding(member.size):
                    raise self.refused(f"there is something behind {member.name}")
            whole.seek(self.end - len(END))
            if b"".join(read(whole, len(END))) != END:
                raise self.refused("its end is not as written")


def checksum_line(manifest: bytes) -> bytes:
    """The content of ``manifest.sha256``, as sha256sum reads it."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def safe(name: str) -> bool:
    """Whether ``name`` is a plain relative path, without ``..``, in characters that every system can write."""
    return bool(re.fullmatch(r"[A-Za-z0-9_.+!=,~@-]+(/[A-Za-z0-9_.+!=,~@-]+)*", name)) and not re.search(
        r"(^|/)\.{1,2}(/|$)", name
    )


def read(stream: io.RawIOBase, size: int) -> Iterator[bytes]:
    """``size`` bytes in pieces; fewer where the file ends."""
    while size > 0 and (chunk := stream.read(min(size, CHUNK))):
        size -= len(chunk)
        yield chunk


def volumes(path: Path) -> tuple[Path, ...]:
    """The files that make up the bundle ``path``: itself, or ``.001`` and all that follow it without a gap."""
    if not path.is_file():
        raise ToolError("bad-usage", "there is no such bundle", where=str(path))
    if path.suffix != ".001":
        return (path,)
    found = [path]
    while (following := path.with_suffix(f".{len(found) + 1:03}")).is_file():
        found.append(following)
    return tuple(found)
