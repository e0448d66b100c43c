"""Unpack verified conda packages into a prefix, with the prefix written into their files. Standard library only.

py-rattler does this where it can be installed (:mod:`maintain.install.engine`); this is for the target of a bundle,
which has nothing but the bundle. The rules are conda's: https://docs.conda.io/projects/conda-build, "Package
specification", and the CEPs on ``info/paths.json`` and noarch Python. Link scripts are not run, as in scripts/install.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

Json = dict[str, Any]
Decompress = Callable[[BinaryIO], BinaryIO]

SHEBANG = 127
"""Longest first line that every Linux kernel since 2.6 reads (BINPRM_BUF_SIZE - 1)."""


@dataclass(frozen=True)
class Place:
    """Where and for what to link: ``folder`` is written to, ``prefix`` is what its files will be told.

    ``python`` is the environment's version ("3.13"), "" if it has no Python; ``site_packages`` is relative.
    """

    folder: Path
    prefix: str
    python: str
    site_packages: str
    windows: bool = os.name == "nt"

    @property
    def interpreter(self) -> str:
        """The absolute path of the environment's Python."""
        return f"{self.prefix}\\python.exe" if self.windows else f"{self.prefix}/bin/python{self.python}"


class PackageError(Exception):
    """A package that cannot be unpacked; the text says why."""


def link(
    archive: BinaryIO,
    name: str,
    place: Place,
    decompress: Decompress,
    record: Json,
    modules: dict[str, bytes] | None = None,
) -> Json:
    """Unpack the package file ``name`` and return ``record`` completed as conda-meta has it.

    ``modules`` is given the Python files, by their place in the prefix.
    Raises :class:`PackageError` for a damaged or hostile package, and OSError.
    """
    try:
        info, files = parts(archive, decompress, conda=name.endswith(".conda"))
        described, noarch = metadata(info)
        with untar(files) as members:
            paths = _unpack(members, described, place, modules, python=noarch.get("type") == "python")
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise PackageError(f"{name}: {error!r}") from error
    for entry in noarch.get("entry_points", ()):
        paths.append(_entry_point(entry, place))
    return record | {
        "files": [path["_path"] for path in paths],
        "paths_data": {"paths_version": 1, "paths": paths},
        "link": {"source": "", "type": 3},  # 3: copied
    }


_INFO = ("info/paths.json", "info/link.json")


def parts(archive: BinaryIO, decompress: Decompress, *, conda: bool) -> tuple[dict[str, bytes], BinaryIO]:
    """What ``info/`` says, and the tar of the files: of a .conda (two tars in a zip) or a .tar.bz2 (one tar)."""
    if conda:
        outer = zipfile.ZipFile(archive)
        parts = {part.partition("-")[0]: part for part in outer.namelist() if part.endswith(".tar.zst")}
        info, files = (decompress(cast(BinaryIO, outer.open(parts[kind]))) for kind in ("info", "pkg"))
    else:
        info = cast(BinaryIO, bz2.BZ2File(archive))
    with untar(info) as members:
        found = {member.name: _data(members, member) for member in members if member.name in _INFO}
    if not conda:
        archive.seek(0)
        files = cast(BinaryIO, bz2.BZ2File(archive))
    return found, files


def metadata(info: dict[str, bytes]) -> tuple[dict[str, Json], Json]:
    """What the info files say: each path's entry by its name, and how a noarch package is to be linked."""
    described = {path["_path"]: path for path in json.loads(info["info/paths.json"])["paths"]}
    return described, json.loads(info.get("info/link.json", b"{}")).get("noarch", {})


@contextmanager
def untar(stream: BinaryIO) -> Iterator[tarfile.TarFile]:
    """The members of a tar in their order, without seeking."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 17) as members:
        yield members


def _data(members: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = members.extractfile(member)
    return stream.read() if stream else b""


def _unpack(
    members: tarfile.TarFile,
    described: dict[str, Json],
    place: Place,
    modules: dict[str, bytes] | None,
    *,
    python: bool,
) -> list[Json]:
    """Write the members that ``info/paths.json`` describes; returns their entries for conda-meta."""
    paths = []
    made: set[str] = set()
    missing = {name for name, path in described.items() if path.get("path_type") != "directory"}
    for member in members:
        name = member.name.removeprefix("./")
        path = described.get(name)
        if path is None or member.isdir():
            continue  # info/ of a .tar.bz2; folders are made for what is in them
        missing.discard(name)
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise PackageError(f"{name} would be outside of the prefix")
        target = site(name, place) if python else name
        full = f"{place.folder}/{target}"
        folder = os.path.dirname(full)  # noqa: PTH120 - plain strings: an environment has ten thousand files
        if folder not in made:
            make(str(place.folder), folder)
            made.add(folder)
        entry = {key: value for key, value in path.items() if key in ("path_type", "sha256", "size_in_bytes")}
        try:
            data = _place(full, members, member, path, place, entry, python=python)
        except FileExistsError:  # two packages with one file: the later one stays, as with conda
            os.unlink(full)  # noqa: PTH108
            data = _place(full, members, member, path, place, entry, python=python)
        if modules is not None and data is not None:
            modules[target] = data
        paths.append({"_path": target, **entry})
    if missing:
        raise PackageError(f"{min(missing)} is listed and not there")
    return paths


def _place(
    full: str, members: tarfile.TarFile, member: tarfile.TarInfo, path: Json, place: Place, entry: Json, *, python: bool
) -> bytes | None:
    """Write one member; returns the content of a Python file."""
    if member.issym():
        os.symlink(member.linkname, full)  # noqa: PTH211
    elif member.islnk():  # to an earlier member, whose content is relocated already
        linked = member.linkname.removeprefix("./")
        os.link(f"{place.folder}/{site(linked, place) if python else linked}", full)
    elif member.isfile():
        return _write(full, members, member, path, place, entry)
    else:
        raise PackageError(f"{member.name} is neither file nor link")
    return None


def site(name: str, place: Place) -> str:
    """Where a file of a noarch Python package goes."""
    if name.startswith("site-packages/"):
        return place.site_packages + name.removeprefix("site-packages")
    if name.startswith("python-scripts/"):
        return ("Scripts" if place.windows else "bin") + name.removeprefix("python-scripts")
    return name


def make(root: str, folder: str) -> None:
    """Make ``folder``; a link that another package put in its way would lead out of the prefix."""
    if os.path.realpath(folder) != _real(root) + folder[len(root) :]:
        raise PackageError(f"{folder} leads elsewhere")
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103


_real = cache(os.path.realpath)  # of the prefix, for a thousand folders in it


def _write(
    full: str, members: tarfile.TarFile, member: tarfile.TarInfo, path: Json, place: Place, entry: Json
) -> bytes | None:
    placeholder = path.get("prefix_placeholder")
    source = members.extractfile(member)
    if source is None:
        raise PackageError(f"{member.name} has no content")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(full, flags, 0o777 if member.mode & 0o100 else 0o666)
    try:
        data = source.read() if placeholder or full.endswith(".py") else b""
        if placeholder:
            mode = path.get("file_mode", "text")
            data = relocate(data, placeholder, place, binary=mode == "binary")
            entry |= {"prefix_placeholder": placeholder, "file_mode": mode}
            entry["sha256_in_prefix"] = hashlib.sha256(data).hexdigest()
        _put(descriptor, data)
        while chunk := source.read(1 << 20):
            _put(descriptor, chunk)
    finally:
        os.close(descriptor)
    if placeholder and sys.platform == "darwin" and path.get("file_mode") == "binary":
        # A changed program loses its signature, and Apple's processors run none without.
        subprocess.run(["/usr/bin/codesign", "-s", "-", "-f", full], check=True, capture_output=True)
    os.utime(full, (member.mtime, member.mtime))  # byte code in packages names its source's time
    return data if full.endswith(".py") else None


def _put(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def relocate(data: bytes, placeholder: str, place: Place, *, binary: bool) -> bytes:
    """``data`` with the prefix for the placeholder: in text as it is, in a binary padded with NUL to the same length.

    A first line that the kernel cannot read (too long, or a blank in it) is replaced by one that works.
    """
    old, new = placeholder.encode(), place.prefix.encode()
    if binary:
        if place.windows:
            return data
        if len(new) > len(old):
            raise PackageError(f"the prefix is longer than the {len(old)} bytes that its programs have room for")

        def padded(match: re.Match[bytes]) -> bytes:
            return match[0].replace(old, new).ljust(len(match[0]), b"\0")

        return re.sub(re.escape(old) + rb"[^\0]*\0", padded, data)
    if place.windows:
        new = new.replace(b"\\", b"/")
    had = data.startswith(b"#!") and old in data.partition(b"\n")[0]
    data = data.replace(old, new)
    return shebang(data) if had else data


def shebang(script: bytes) -> bytes:
    """``script`` with a first line that the kernel can read, whatever the path of its interpreter."""
    first, _, rest = script.partition(b"\n")
    command = first[2:].strip()
    match = re.match(rb"(.*/([^/ ]+))((?: -\S+)*)$", command)
    if match is None or (len(first) <= SHEBANG and b" " not in match[1]):
        return script
    if match[2].startswith(b"python"):
        # sh reads the second line as a command, Python as a string.
        return b"#!/bin/sh\n'''exec' \"%b\"%b \"$0\" \"$@\"\n' '''\n%b" % (match[1], match[3], rest)
    return b"#!/usr/bin/env %b\n%b" % (match[2], rest)


def _entry_point(text: str, place: Place) -> Json:
    """Write the command of ``name = module:function``; returns its entry for conda-meta."""
    name, _, target = (part.strip() for part in text.partition("="))
    module, _, function = (part.strip() for part in target.partition(":"))
    if not re.fullmatch(r"[\w.+-]+", name) or not re.fullmatch(r"[\w.]+", module + function):
        raise PackageError(f"entry point {text!r}")
    start = function.partition(".")[0]
    code = f"import sys\nfrom {module} import {start}\nsys.exit({function}())\n".encode()
    if place.windows:
        # A .cmd needs no launcher program and is found by name like an .exe; -x skips the line that cmd reads.
        relative, kind = f"Scripts/{name}.cmd", "windows_python_entry_point_exe"
        script = b'@"%~dp0..\\python.exe" -x "%~f0" %* & exit /b\n' + code
    else:
        relative, kind = f"bin/{name}", "unix_python_entry_point"
        script = shebang(f"#!{place.interpreter}\n".encode() + code)
    full = place.folder / relative
    full.parent.mkdir(exist_ok=True)
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o777)
    try:
        _put(descriptor, script)
    finally:
        os.close(descriptor)
    return {
        "_path": relative,
        "path_type": kind,
        "sha256": hashlib.sha256(script).hexdigest(),
        "size_in_bytes": len(script),
    }
