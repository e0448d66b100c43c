"""What the checks know of a host, gathered once: from this one, or from one that was recorded.

A recorded host is a folder of small files, most of them what a command of that host prints, so that they can be
taken by hand: ``uname`` (``uname -srm``), ``os-release``, ``glibc`` (``getconf GNU_LIBC_VERSION``), ``mounts``
(/proc/mounts), ``env`` and ``python.json`` (what this Python says of itself). ``prefect-env support`` records them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

NETWORK_KINDS = ("nfs", "cifs", "smb", "afs", "9p", "fuse.sshfs", "gpfs", "lustre", "beegfs", "ceph", "glusterfs")


@dataclass(frozen=True)
class Mount:
    """A mounted file system: where, of what kind (``nfs4``, ``xfs``), with which options."""

    point: str
    kind: str
    options: tuple[str, ...]

    @property
    def remote(self) -> bool:
        """Whether it is a network file system, where SQLite's locks and shared memory are not to be trusted."""
        return self.kind.startswith(NETWORK_KINDS) or "glusterfs" in self.kind


@dataclass(frozen=True)
class Library:
    """SQLite, OpenSSL or Python as loaded: ``path`` is None where the system does not tell."""

    name: str
    version: str
    path: str | None


@dataclass(frozen=True)
class Host:
    """``system`` is linux, darwin or windows; ``release`` is os-release, or ID and VERSION_ID made up likewise.

    ``packages`` are the Python packages of the prefix with their versions, ``search`` is sys.path, ``user_site`` the
    user's site-packages if this Python looks there, ``double_quoted`` whether SQLite takes a double-quoted word for a
    string where it is no name, ``folder`` the working directory, ``open_files`` the soft limit. None: not known.
    """

    system: str
    machine: str
    kernel: str
    prefix: str
    env: Mapping[str, str]
    release: Mapping[str, str] = field(default_factory=dict)
    glibc: str = ""
    mounts: tuple[Mount, ...] = ()
    python: str = ""
    libraries: tuple[Library, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    double_quoted: bool | None = None
    fips: bool | None = None
    search: tuple[str, ...] = ()
    user_site: str = ""
    temp: str = ""
    folder: str = ""
    open_files: int | None = None
    selinux: str = ""
    long_paths: bool | None = None
    live: bool = True

    def pure(self, path: str) -> PurePath:
        """``path`` in the host's own notation."""
        return PureWindowsPath(path) if self.system == "windows" else PurePosixPath(path)

    def inside(self, path: str, folder: str | None = None) -> bool:
        """Whether ``path`` lies in ``folder`` (the prefix); on this host links are followed."""
        folder = folder or self.prefix
        if self.live:
            path, folder = os.path.realpath(path), os.path.realpath(folder)
        pure = self.pure(path)
        return self.pure(folder) in (pure, *pure.parents)

    def mount_of(self, path: str) -> Mount | None:
        """The file system that ``path`` is on: the one with the longest mount point above it, the last of equals."""
        if self.live:
            path = os.path.realpath(path)
        above = [mount for mount in self.mounts if self.inside_pure(path, mount.point)]
        return max(reversed(above), key=lambda mount: len(mount.point), default=None)

    def inside_pure(self, path: str, folder: str) -> bool:
        """:meth:`inside` without following links."""
        return self.pure(folder) in (self.pure(path), *self.pure(path).parents)

    def library(self, name: str) -> Library | None:
        """The library ``name`` (Python, SQLite, OpenSSL) if it could be loaded."""
        return next((library for library in self.libraries if library.name == name), None)

    @property
    def windows(self) -> bool:
        """Whether the host is Windows."""
        return self.system == "windows"


def live() -> Host:
    """This host, as the Python that runs this sees it."""
    import site
    import tempfile

    from prefect_env.installed import site_packages, versions
    from prefect_env.libraries import components

    libraries = tuple(Library(part.name, part.version, part.path) for part in components())
    return Host(
        system=platform.system().lower(),
        machine=platform.machine(),
        kernel=platform.release(),
        prefix=sys.prefix,
        env=dict(os.environ),
        release=_release(),
        glibc=_glibc(),
        mounts=_mounts(_read("/proc/mounts")),
        python=platform.python_version(),
        libraries=libraries,
        packages=versions(site_packages(Path(sys.prefix))),
        double_quoted=_double_quoted(),
        fips=_fips(),
        search=tuple(sys.path),
        user_site=site.getusersitepackages() if site.ENABLE_USER_SITE else "",
        temp=tempfile.gettempdir(),
        folder=str(Path.cwd()),
        open_files=_open_files(),
        selinux=_selinux(),
        long_paths=_long_paths(),
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _release() -> dict[str, str]:
    if sys.platform == "darwin":
        return {"ID": "macos", "VERSION_ID": platform.mac_ver()[0]}
    if sys.platform == "win32":
        return {"ID": "windows", "VERSION_ID": platform.version()}
    return _os_release(_read("/etc/os-release") or _read("/usr/lib/os-release"))


def _os_release(text: str) -> dict[str, str]:
    pairs = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _glibc() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (AttributeError, OSError, ValueError):
        return ""


def _mounts(text: str) -> tuple[Mount, ...]:
    """``/proc/mounts``: device, point, kind, options; blanks in a point are written ``\\040``."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4:
            point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), words[1])
            found.append(Mount(point, words[2], tuple(words[3].split(","))))
    return tuple(found)


def _double_quoted() -> bool | None:
    """Whether ``SELECT "word"`` gives the word: builds of SQLite with DQS=0 take it for a column's name."""
    try:
        import sqlite3

        with sqlite3.connect(":memory:") as connection:
            connection.execute("CREATE TABLE probe (name TEXT)")
            try:
                connection.execute('SELECT name FROM probe WHERE name = "word"')
            except sqlite3.OperationalError:
                return False
        return True
    except ImportError:
        return None


def _fips() -> bool | None:
    text = _read("/proc/sys/crypto/fips_enabled").strip()
    return text == "1" if text else None


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _selinux() -> str:
    return {"1": "enforcing", "0": "permissive"}.get(_read("/sys/fs/selinux/enforce").strip(), "")


def _long_paths() -> bool | None:
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


_PYTHON = {
    *("prefix", "python", "libraries", "packages", "double_quoted", "fips", "search", "user_site", "temp", "folder"),
    *("open_files", "selinux", "long_paths"),
}
"""The fields that ``python.json`` holds."""


def record(host: Host) -> dict[str, str]:
    """The files of a recorded host by name; secrets are the caller's to remove."""
    content = {name: value for name, value in asdict(host).items() if name in _PYTHON}
    return {
        "uname": f"{host.system.title()} {host.kernel} {host.machine}\n",
        "os-release": "".join(f'{name}="{value}"\n' for name, value in host.release.items()),
        "glibc": f"glibc {host.glibc}\n" if host.glibc else "",
        "mounts": "".join(_mount_line(mount) for mount in host.mounts),
        "env": "".join(f"{name}={value}\n" for name, value in sorted(host.env.items()) if "\n" not in value),
        "python.json": json.dumps(content, indent=2) + "\n",
    }


def _mount_line(mount: Mount) -> str:
    point = mount.point.replace("\\", "\\134").replace(" ", "\\040")
    return f"none {point} {mount.kind} {','.join(mount.options)} 0 0\n"


def replay(folder: Path) -> Host:
    """The recorded host in ``folder``. Raises OSError and ValueError."""
    content: dict[str, Any] = json.loads((folder / "python.json").read_text(encoding="utf-8"))
    words = (folder / "uname").read_text(encoding="utf-8").split()
    if len(words) < 3:
        raise ValueError(f"{folder / 'uname'}: not what uname -srm prints")
    return Host(
        system=words[0].lower(),
        kernel=words[1],
        machine=words[-1],
        release=_os_release(_read(str(folder / "os-release"))),
        glibc=_read(str(folder / "glibc")).strip().rpartition(" ")[2],
        mounts=_mounts(_read(str(folder / "mounts"))),
        env=dict(line.split("=", 1) for line in _read(str(folder / "env")).splitlines() if "=" in line),
        libraries=tuple(Library(**library) for library in content.pop("libraries", ())),
        search=tuple(content.pop("search", ())),
        live=False,
        **{name: value for name, value in content.items() if name in _PYTHON},
    )
