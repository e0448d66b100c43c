"""Where the shared libraries of this process's Python come from."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Component:
    """Something this Python runs on. ``path`` is its real path, or None where the system does not tell."""

    name: str
    version: str
    path: str | None
    in_prefix: bool
    ok: bool
    """It is in the prefix and new enough."""

    def as_dict(self) -> dict[str, Any]:
        """The component as ``--json`` prints it."""
        return asdict(self)


def components() -> list[Component]:
    """Python, SQLite and OpenSSL as loaded here. SQLite 3.24 is the least that Prefect takes, OpenSSL 3 ours."""
    return [
        _component("Python", sys.version_info[:3], (3, 9), sys.executable),
        _sqlite(),
        _openssl(),
    ]


def _sqlite() -> Component:
    try:
        import _sqlite3
        import sqlite3
    except ImportError as error:
        return _missing("SQLite", error)
    path = library_of(_sqlite3.__file__, "sqlite3_libversion", "sqlite3.dll")
    return _component("SQLite", sqlite3.sqlite_version_info, (3, 24), path)


def _openssl() -> Component:
    try:
        import _ssl
        import ssl
    except ImportError as error:
        return _missing("OpenSSL", error)
    paths = [
        library_of(_ssl.__file__, "SSL_CTX_new", "libssl-3-x64.dll"),
        library_of(_ssl.__file__, "OpenSSL_version_num", "libcrypto-3-x64.dll"),
    ]
    # One line for the two; the one that comes from elsewhere is what the user must see.
    path = next((path for path in paths if not _inside(path)), paths[0])
    # "OpenSSL 3.5.4 30 Sep 2025"; the tuple that ssl has is in OpenSSL 1's order and lacks the patch level.
    version = tuple(int(number) for number in re.findall(r"\d+", ssl.OPENSSL_VERSION.split()[1]))
    return _component("OpenSSL", version, (3,), path)


def _component(name: str, version: tuple[int, ...], floor: tuple[int, ...], path: str | None) -> Component:
    real = os.path.realpath(path) if path else None
    inside = _inside(real)
    return Component(name, ".".join(map(str, version)), real, inside, inside and version >= floor)


def _missing(name: str, error: ImportError) -> Component:
    return Component(name, f"cannot be imported: {error}", None, in_prefix=False, ok=False)


def _inside(path: str | None) -> bool:
    return bool(path) and os.path.realpath(str(path)).startswith(os.path.realpath(sys.prefix) + os.sep)


def library_of(extension: str | None, symbol: str, dll: str) -> str | None:
    """The path of the library that gives ``symbol`` to the extension module at ``extension``.

    On Windows, of the loaded ``dll``. None if the system does not tell.
    """
    import ctypes

    if sys.platform == "win32":
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.GetModuleHandleW.restype = ctypes.c_void_p
        kernel.GetModuleFileNameW.argtypes = [ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint32]
        handle = kernel.GetModuleHandleW(dll)
        buffer = ctypes.create_unicode_buffer(32768)
        return buffer.value if handle and kernel.GetModuleFileNameW(handle, buffer, len(buffer)) else None

    class Info(ctypes.Structure):
        """Dl_info of dladdr(3)."""

        _fields_ = [
            ("dli_fname", ctypes.c_char_p),
            ("dli_fbase", ctypes.c_void_p),
            ("dli_sname", ctypes.c_char_p),
            ("dli_saddr", ctypes.c_void_p),
        ]

    info = Info()
    try:
        # Opening the extension again gives the copy that is loaded; a symbol is looked up in it and what it needs.
        address = ctypes.cast(getattr(ctypes.CDLL(extension), symbol), ctypes.c_void_p)
        dladdr = ctypes.CDLL(None).dladdr
        dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(Info)]
        found = dladdr(address, ctypes.byref(info))
    except (AttributeError, OSError):
        return None
    return os.fsdecode(info.dli_fname) if found and info.dli_fname else None
