"""Write bundles, installers and their companions: the same input gives the same bytes, wherever it is packed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from maintain.bundle import layout
from maintain.bundle.contents import Contents, Item
from maintain.bundle.layout import CHECKSUM, DELTA, ENGINE, HEAD, MANIFEST, SIGNATURE, Bundle, header, padding
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, exclusive, explained, sha256_file

Format = Literal["installer", "tar"]
HEADS = Path(__file__).parent / "heads"


@dataclass
class Result:
    """The files of one artefact set, and the bundle's name."""

    name: str
    sha256: str
    """Of the manifest, which fixes everything else."""
    files: list[Path] = field(default_factory=list)


def write(
    contents: Contents,
    folder: Path,
    *,
    formats: Sequence[Format] = ("installer",),
    split: int | None = None,
    base: Bundle | None = None,
    key: Ed25519PrivateKey | None = None,
) -> Result:
    """Write the artefact set of ``contents`` into ``folder``: installer, bundle, companions, ``.sha256`` last.

    ``split`` is the largest size of a volume in bytes; ``base`` makes a delta. Raises ``busy``, ``disk-full``, ...
    """
    members = contents.members()
    manifest = layout.dump(contents.manifest(members))
    checksum = layout.checksum_line(manifest)
    front = [(MANIFEST, manifest), (CHECKSUM, checksum)]
    if key:
        front.append((SIGNATURE, key.sign(manifest).hex().encode() + b"\n"))
    name, present = contents.name, members
    if base:
        known = {member.sha256 for member in base.members.values()}
        absent = [
            member.name
            for member in members
            if member.sha256 in known and member.name.startswith(("byte-code/", "channel/"))
        ]
        delta = {"format": layout.FORMAT, "base": base.manifest["name"], "checksum": base.checksum, "absent": absent}
        front.insert(0, (DELTA, layout.dump(delta)))
        present = [member for member in members if member.name not in absent]
        name += "-delta"
    stream = [part for front_name, data in front for part in _member(front_name, data)]
    for member in present:
        stream += _member(member.name, member.source)
    stream.append(layout.END)
    result = Result(name, checksum.decode()[:64])
    with explained(folder), exclusive(folder / ".pack.lock", what=f"the folder {folder}"):
        _clear(folder, name)
        for kind in sorted(set(formats)):
            suffix = ".tar" if kind == "tar" else ".cmd" if contents.subdir == "win-64" else ".sh"
            head = b"" if kind == "tar" else _head(contents, stream, present, front, split)
            result.files += _cut(folder, name + suffix, [head, *stream], split)
        for suffix, data in contents.companions(manifest).items():
            atomic_write(folder / f"{name}{suffix}", data)
            result.files.append(folder / f"{name}{suffix}")
        sums = "".join(f"{sha256_file(file)}  {file.name}\n" for file in result.files)
        atomic_write(folder / f"{name}.sha256", sums)
        result.files.append(folder / f"{name}.sha256")
        if key:
            atomic_write(folder / f"{name}.sha256.sig", key.sign(sums.encode()).hex() + "\n")
            result.files.append(folder / f"{name}.sha256.sig")
    return result


Part = bytes | Path


def _member(name: str, source: Part) -> list[Part]:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    return [header(name, size), source, padding(size)]


def _bytes(parts: Iterable[Part]) -> Iterable[bytes]:
    """The parts in pieces of at most a MiB."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as stream:
            while chunk := stream.read(layout.CHUNK):
                yield chunk


def _clear(folder: Path, name: str) -> None:
    """Remove the set's old files, the list of hashes first: without it the set is not whole."""
    for pattern in (f"{name}.sha256*", f"{name}.*", f".{name}.*.tmp"):
        for old in folder.glob(pattern):
            old.unlink()


def _cut(folder: Path, name: str, parts: Sequence[Part], split: int | None) -> list[Path]:
    """Write ``parts`` as one file or as volumes; complete ones only, the first volume last."""
    made: list[Path] = []
    stream: BinaryIO | None = None
    try:
        for data in _pieces(_bytes(parts), split):
            if data is None:
                if stream:
                    _finish(stream)
                made.append(folder / f".{name}.{len(made) + 1:03}.tmp")
                stream = made[-1].open("wb")
            elif stream:
                stream.write(data)
        if stream:
            _finish(stream)
    except BaseException:
        for temporary in made:
            with suppress(OSError):
                temporary.unlink()
        raise
    done = [folder / (f"{name}.{number:03}" if split else name) for number in range(1, len(made) + 1)]
    for temporary, final in reversed(list(zip(made, done, strict=True))):
        temporary.replace(final)
    if name.endswith(".sh"):
        done[0].chmod(0o755)
    return done


def _pieces(chunks: Iterable[bytes], split: int | None) -> Iterable[bytes | None]:
    """The chunks cut so that every ``split`` bytes, and before the first, a None says that a volume begins."""
    room = 0
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            if not room:
                yield None
                room = split or 1 << 62
            piece = chunk[at : at + room]
            yield piece
            at, room = at + len(piece), room - len(piece)


def _finish(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()


def _head(
    contents: Contents,
    stream: Sequence[Part],
    present: Sequence[Item],
    front: Sequence[tuple[str, bytes]],
    split: int | None,
) -> bytes:
    """The script before the tar, with what it must know of this very file."""
    digest, size = hashlib.sha256(), 0
    for data in _bytes(stream):
        digest.update(data)
        size += len(data)
    at = sum(len(part) for name, data in front for part in _member(name, data) if isinstance(part, bytes))
    places = {}
    for member in present:
        places[member.name] = (at + layout.BLOCK, member.size)
        at += layout.BLOCK + member.size + len(padding(member.size))
    (engine_skip, engine_size), (list_skip, list_size) = places[ENGINE], places["packages.txt"]
    values = {
        **contents.head_values(),
        "volumes": -(-(HEAD + size) // split) if split else 0,
        "payload_size": size,
        "payload_sha256": digest.hexdigest(),
        "engine_skip": engine_skip,
        "engine_size": engine_size,
        "list_skip": list_skip,
        "list_size": list_size,
    }
    template = (HEADS / ("install.cmd" if contents.subdir == "win-64" else "install.sh")).read_text(encoding="utf-8")

    def value(match: re.Match[str]) -> str:
        text = str(values[match[1]])
        if not re.fullmatch(r"[\w.+-]*", text):
            raise ToolError("bad-usage", f"{match[1]} cannot be written into the installer", why=text)
        return text

    head = re.sub(r"@([a-z_0-9]+)@", value, template).encode()
    if len(head) >= HEAD or (split and split < HEAD):
        raise ToolError("bad-usage", "the volumes are too small", fix="use a --split of 1M or more")
    return head.ljust(HEAD, b"\n")


def join(base: Bundle, delta: Bundle, output: Path) -> None:
    """Write the full bundle (a tar) of ``delta`` and the bundle it was made against, verified member by member.

    Raises ``bad-usage`` for another base and ``hash-mismatch``.
    """
    if delta.delta is None or base.checksum != delta.delta["checksum"]:
        raise ToolError(
            "bad-usage",
            "these two do not belong together",
            where=f"{base.path}, {delta.path}",
            why=f"the delta needs {delta.delta['base']}" if delta.delta else "the second is no delta",
        )
    base.verify()
    delta.verify()
    known = {member.sha256: member for member in base.members.values()}
    front = [(MANIFEST, delta.raw_manifest), (CHECKSUM, layout.checksum_line(delta.raw_manifest))]
    if delta.signature:
        front.append((SIGNATURE, delta.signature.encode() + b"\n"))
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.tmp")
    with explained(output), temporary.open("wb") as stream:
        for name, data in front:
            stream.writelines(part for part in _member(name, data) if isinstance(part, bytes))
        for entry in delta.manifest["members"]:
            name, size = entry["name"], entry["size"]
            source, member = (delta, delta.members[name]) if name in delta.members else (base, known[entry["sha256"]])
            stream.write(header(name, size))
            with source.open(member.name) as data_stream:
                shutil.copyfileobj(data_stream, stream, layout.CHUNK)
            stream.write(padding(size))
        stream.write(layout.END)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(output)
