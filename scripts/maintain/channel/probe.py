"""Run by the Python of a prefix under check: what it loads, from where, and what it trusts; JSON on stdout."""

import json
import platform
import re
import sqlite3
import ssl
import subprocess
import sys
import sysconfig
import zoneinfo
from importlib import import_module
from pathlib import Path

MODULES = [
    "_bz2",
    "_ctypes",
    "_curses",
    "_hashlib",
    "_lzma",
    "_sqlite3",
    "_ssl",
    "_uuid",
    "pyexpat",
    "readline",
    "zlib",
]
GONE = {"_crypt": (3, 13)}
"""Modules that Python has no more since that version."""

SYSTEM = re.compile(r"/(ld-linux-x86-64|lib(c|m|dl|rt|pthread|util|resolv|nss_\w+))[.-]")
"""The system's C library, which every conda environment takes from the host."""


def main() -> None:
    """Import what loads a library, then look at which files were mapped."""
    missing = []
    there = [name for name, version in GONE.items() if sys.version_info < version]
    for name in [*MODULES, *there, *sys.argv[1:]]:
        try:
            import_module(name)
        except ImportError as error:
            missing.append(f"{name}: {error}")
    mapped = {
        line.split(maxsplit=5)[5].strip() for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line
    }
    outside = sorted(path for path in mapped if not path.startswith(sys.prefix + "/") and not SYSTEM.search(path))
    inside = sorted(Path(path).name for path in mapped if path.startswith(sys.prefix + "/lib/lib"))
    paths = ssl.get_default_verify_paths()
    pip = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    result = {
        "missing": missing,
        "outside": outside,
        "inside": inside,
        "python": platform.python_version(),
        "path": [entry for entry in sys.path[1:] if entry],
        "site": sysconfig.get_path("purelib"),
        "settings": [sysconfig.get_config_var(name) for name in ("prefix", "LIBDIR", "INCLUDEPY", "BINDIR", "TZPATH")],
        "zones": list(zoneinfo.TZPATH),
        "cafile": paths.openssl_cafile,
        "capath": paths.openssl_capath,
        "roots": len(ssl.create_default_context().get_ca_certs()),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "pip": (pip.stdout + pip.stderr).strip(),
        "pip_code": pip.returncode,
    }
    json.dump(result, sys.stdout)


main()
