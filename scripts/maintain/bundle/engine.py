"""The engine of a bundle: the environment's own Python, cut down to what :mod:`maintain.bundle.target` needs.

It is taken from the very packages of the bundle, for any platform on any platform: nothing is run. RHEL 7's tar and
gzip unpack it; it is a tenth of the whole.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from maintain.bundle.link import parts
from maintain.lib.errors import ToolError
from maintain.lib.paths import ROOT

# The standard library without tests, GUI, debugging, network protocols and the codecs of East Asia: by exclusion, since
# what a module imports changes from one Python to the next. Modules in folders that are needed:
_FOLDERS = "collections|compression|concurrent|ctypes|encodings|importlib|json|logging|pathlib|re|string|urllib|zipfile"
_UNUSED = (
    "_pydecimal|_pyio|_strptime|aifc|antigravity|bdb|cProfile|calendar|cgi|chunk|cmd|code|codeop|configparser|crypt|csv"
    "|decimal|difflib|doctest|filecmp|fractions|ftplib|getpass|imaplib|imghdr|mailbox|mailcap|mimetypes|modulefinder"
    "|netrc|nntplib|optparse|pdb|pickletools|pipes|plistlib|poplib|profile|pstats|pyclbr|pydoc|sched|smtplib|sndhdr|socket"
    "|socketserver|ssl|statistics|sunau|symtable|tabnanny|telnetlib|timeit|trace|tracemalloc|turtle|uuid|wave|webbrowser|xdrlib"
)
_UNUSED_NATIVE = (
    "_asyncio|_codecs_|_crypt|_curses|_decimal|_hashlib|_lsprof|_multibytecodec|_multiprocessing|_sqlite3|_ssl|_test"
    "|_tkinter|_uuid|_xx|_zoneinfo|audioop|ossaudiodev|readline|xx"
)
PYTHON = re.compile(
    r"bin/python[\d.]*|python\.exe|[^/]*\.dll|DLLs/[^/]*\.(pyd|dll)|lib/libpython[^/]*"
    rf"|(lib/python3\.\d+|Lib)/((?!({_UNUSED})\.py)[^/]*\.py|({_FOLDERS})/(?!.*__pycache__).*\.py)"
    rf"|lib/python3\.\d+/lib-dynload/(?!{_UNUSED_NATIVE})[^/]*"
)
LIBRARY = re.compile(r"lib/lib(bz2|expat|ffi|gcc_s|z|zstd)\b[^/]*\.(so|dylib)[^/]*|(Library/bin/)?[^/]*\.dll")
LIBRARIES = ("bzip2", "libexpat", "libffi", "libgcc", "libzlib", "ucrt", "vc14_runtime", "vcomp14", "zstd")
"""What Python and its modules ``zlib``, ``bz2``, ``ctypes`` and ``pyexpat`` load, and libzstd."""
NEEDED = ("python", "zstd")

MODULES = (
    "maintain/bundle/ed25519.py",
    "maintain/bundle/layout.py",
    "maintain/bundle/link.py",
    "maintain/bundle/parallel.py",
    "maintain/bundle/pyc.py",
    "maintain/bundle/target.py",
    "maintain/bundle/zstd.py",
    "maintain/install/bytecode.py",
    "maintain/install/conda_meta.py",
    "maintain/install/prefix.py",
    "maintain/lib/errors.py",
    "maintain/lib/files.py",
)
"""The modules that run on the target; a test holds them to the standard library."""
START = b"import sys\n\nfrom maintain.bundle.target import main\n\nsys.exit(main())\n"


def build(archives: Mapping[str, Path]) -> bytes:
    """The engine as a .tar.gz, from the verified archives of an environment by package name; the same every time.

    Raises ``unsatisfiable`` where the environment has no Python or no zstd.
    """
    if missing := [name for name in NEEDED if name not in archives]:
        raise ToolError(
            "unsatisfiable",
            f"an installer needs {' and '.join(missing)} in its environment",
            why="the target has nothing to unpack the packages with",
            fix="add it to the environment's dependencies, or write the plain bundle only: --format tar",
        )
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as target:
        for name, pattern in (("python", PYTHON), *((library, LIBRARY) for library in LIBRARIES)):
            if name in archives:
                _copy(archives[name], pattern, target)
        for module in MODULES:
            _add(target, f"engine/{module}", (ROOT / "scripts" / module).read_bytes())
        for package in sorted({str(Path(module).parent) for module in MODULES} | {"maintain"}):
            _add(target, f"engine/{package}/__init__.py", b"")
        _add(target, "engine/__main__.py", START)
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def decompress(stream: BinaryIO) -> BinaryIO:
    """zstd by the tool environment's library."""
    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))


def _copy(archive: Path, pattern: re.Pattern[str], target: tarfile.TarFile) -> None:
    with archive.open("rb") as stream:
        _, files = parts(stream, decompress, conda=archive.suffix == ".conda")
        with tarfile.open(fileobj=files, mode="r|") as members:
            for member in members:
                if pattern.fullmatch(member.name):
                    source = members.extractfile(member) if member.isfile() else None
                    link = member.linkname if member.issym() else None
                    if member.islnk():
                        link = posixpath.relpath(member.linkname, posixpath.dirname(member.name))
                    _add(target, member.name, source.read() if source else b"", link=link, mode=member.mode)


def _add(target: tarfile.TarFile, name: str, data: bytes, *, link: str | None = None, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755 if mode & 0o100 else 0o644
    if link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, link
    target.addfile(member, io.BytesIO(data))
