"""Decompress zstd by the libzstd that every locked environment has, through ctypes. Standard library only.

Python has a module of its own from 3.14 on, and the environments are locked for older ones too. The functions:
https://facebook.github.io/zstd/zstd_manual.html ("Streaming decompression").
"""

from __future__ import annotations

import ctypes
import io
import sys
from pathlib import Path
from typing import Any, BinaryIO

NAMES = {"win32": "Library/bin/libzstd.dll", "darwin": "lib/libzstd.1.dylib"}
"""Where the ``zstd`` package of conda-forge has its library; elsewhere :data:`LIBRARY`."""
LIBRARY = "lib/libzstd.so.1"


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer have the same fields."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


def load(folder: Path) -> ctypes.CDLL:
    """The libzstd below ``folder``; raises OSError."""
    library = ctypes.CDLL(str(folder / NAMES.get(sys.platform, LIBRARY)))
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    library.ZSTD_DCtx_refPrefix.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_DCtx_refPrefix.restype = ctypes.c_size_t
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    return library


class Reader(io.RawIOBase):
    """``source`` decompressed; memory stays at the window of the frame (8 MiB for conda packages) and two buffers.

    ``prefix`` is what the first frame was compressed against, if anything.
    """

    def __init__(self, library: ctypes.CDLL, source: BinaryIO, prefix: bytes = b"", size: int = 1 << 17) -> None:
        self._library = library
        self._source = source
        self._stream = library.ZSTD_createDStream()
        self._prefix = prefix  # the library keeps a pointer to it
        library.ZSTD_DCtx_refPrefix(self._stream, prefix, len(prefix))
        self._space = ctypes.create_string_buffer(size)
        self._in = _Buffer(ctypes.cast(self._space, ctypes.c_void_p), 0, 0)
        self._open = False

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Decompress into ``buffer``. Raises OSError for damaged or cut data."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        target = _Buffer(ctypes.addressof(ctypes.c_char.from_buffer(view)), len(view), 0)
        while not target.pos:
            if self._in.pos == self._in.size:
                chunk = self._source.read(len(self._space))
                if not chunk:
                    if self._open:
                        raise OSError("zstd: the data is cut")
                    return 0
                ctypes.memmove(self._space, chunk, len(chunk))
                self._in.size, self._in.pos = len(chunk), 0
            left = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(target), ctypes.byref(self._in))
            if self._library.ZSTD_isError(left):
                raise OSError(f"zstd: {self._library.ZSTD_getErrorName(left).decode()}")
            self._open = left != 0
        return int(target.pos)

    def close(self) -> None:
        """Free the library's state."""
        if not self.closed:
            self._library.ZSTD_freeDStream(self._stream)
        super().close()
