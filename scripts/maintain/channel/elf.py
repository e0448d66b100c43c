"""Make Debian's programs and libraries find their libraries, and OpenSSL its files, inside the prefix."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from maintain.lib.errors import ToolError

MAGIC = b"\x7fELF"


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
