"""The packages of ``base.toml``: Debian's files moved to conda's places, and made relocatable."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import filter as fnmatch_filter
from fnmatch import fnmatchcase
from pathlib import Path

from maintain.channel.debian import Content, Deb, unpack
from maintain.channel.elf import MAGIC, with_prefix_strings, with_rpath
from maintain.channel.package import PLACEHOLDER, Entry, Package
from maintain.channel.release import RELEASES, Release
from maintain.lib.errors import ToolError

PLACES = (
    ("usr/bin/", "bin/"),
    ("bin/", "bin/"),
    ("usr/lib/x86_64-linux-gnu/", "lib/"),
    ("lib/x86_64-linux-gnu/", "lib/"),
    ("usr/lib/python3", "lib/python3"),
    ("usr/share/zoneinfo/", "share/zoneinfo/"),
    ("etc/ssl/", "ssl/"),
)
"""Where Debian puts files, and where conda does."""


@dataclass(frozen=True)
class Base:
    """An entry of ``base.toml``."""

    name: str
    debs: list[str]
    license: str
    files: list[str] = field(default_factory=list)
    depends: list[str] = field(default_factory=list)
    constrains: list[str] = field(default_factory=list)
    build: str = "standin_0"
    noarch: bool = False


def table(release: Release) -> list[Base]:
    """The packages to make from ``release``."""
    text = Path(__file__).with_name("base.toml").read_text(encoding="utf-8")
    found = []
    for name, entry in tomllib.loads(text).items():
        own = {other: entry.pop(other, {}) for other in RELEASES}
        found.append(Base(name, **entry, **own[release.name]))
    return found


def conda_version(debian: str) -> str:
    """Upstream's version in Debian's: ``1:1.2.13.dfsg-1`` is 1.2.13, ``1.3.dfsg+really1.3.1-1`` is 1.3.1.

    A date is written as conda-forge writes it.
    """
    match = re.match(r"(?:.*\+really|\d+:)?(\d+(?:\.\d+)*[a-z]?)", debian)
    if not match:
        raise ToolError("bad-file", f"Debian's version {debian!r} has no number")
    version = match[1]
    if re.fullmatch(r"\d{8}", version):
        return f"{version[:4]}.{int(version[4:6])}.{int(version[6:])}"
    return version


def make(base: Base, debs: dict[str, Deb], release: Release) -> Package:
    """Make one package from the unpacked Debian packages of ``base``, which are ``release``'s."""
    contents = {name: unpack(debs[name].path) for name in base.debs}
    entries: dict[str, Entry] = {}
    licences: dict[str, bytes] = {}
    for name, content in contents.items():
        for entry in _moved(content):
            if any(fnmatchcase(entry.path, pattern) for pattern in base.files):
                entries[entry.path] = entry
        copyright_file = content.files.get(f"usr/share/doc/{name}/copyright")
        if copyright_file:
            licences[f"licenses/{name}/copyright"] = copyright_file[0]
    if not licences:
        raise ToolError(
            "check-failed", f"no copyright file in {', '.join(base.debs)}", fix="name another package in base.toml"
        )
    if base.name in FINISH:
        FINISH[base.name](entries, contents, release)
    for path, entry in entries.items():
        if entry.data.startswith(MAGIC) and not entry.prefix:  # a file with a prefix has its rpath already
            entries[path] = Entry(path, with_rpath(entry.data, path), executable=entry.executable)
    missing = [pattern for pattern in base.files if not any(fnmatchcase(path, pattern) for path in entries)]
    if missing:
        raise ToolError(
            "check-failed", f"{base.name}: Debian's packages no longer hold {', '.join(missing)}", where="base.toml"
        )
    glibc = max((content.glibc for content in contents.values()), default=())
    versions = {entry.name: conda_version(debs[entry.debs[0]].version) for entry in table(release)}
    return Package(
        name=base.name,
        version=versions[base.name],
        build=base.build,
        subdir="noarch" if base.noarch else "linux-64",
        files=list(entries.values()),
        depends=[f"{name} >={versions[name]}" for name in base.depends]
        + ([f"__glibc >={'.'.join(map(str, glibc))}"] if glibc else []),
        constrains=base.constrains,
        license=base.license,
        about={
            "summary": "Repacked from Debian for the stand-in channel of prefect-env",
            "extra": {"debian": {name: debs[name].version for name in base.debs}},
        },
        info=licences,
    )


def python_abi(release: Release) -> Package:
    """The package that binds compiled packages to their Python's ABI, as conda-forge has it."""
    return Package(
        name="python_abi",
        version=release.python,
        build=f"standin_0_{release.tag}",
        subdir="noarch",
        files=[],
        constrains=[f"python {release.python}.* *_cpython"],
        license="CC0-1.0",
    )


def _moved(content: Content) -> list[Entry]:
    """Files and links of a Debian package that have a place in a prefix; links out of it are dropped."""
    entries = []
    for path, (data, executable) in content.files.items():
        if place := _place(path):
            entries.append(Entry(place, data, executable=executable))
    for path, target in content.links.items():
        place = _place(path)
        if place and not target.startswith("/"):
            entries.append(Entry(place, link=target))
    return entries


def _place(path: str) -> str | None:
    for debian, conda in PLACES:
        if path.startswith(debian):
            return conda + path.removeprefix(debian)
    return None


def _replace(data: bytes, old: bytes, new: bytes, count: int, what: str) -> bytes:
    found = data.count(old)
    if found != count:
        raise ToolError(
            "check-failed",
            f"{what}: expected {old.decode()!r} {count} times, found it {found} times",
            why="Debian's package is not the one that this was written for",
            fix="adapt maintain/channel/base.py",
        )
    return data.replace(old, new)


def _python(entries: dict[str, Entry], _contents: dict[str, Content], release: Release) -> None:
    """Undo what Debian changed: paths, schemes, the policy file; drop modules whose libraries are left out."""
    lib = f"lib/python{release.python}"
    drop = {f"{lib}/{name}" for name in ("_distutils_system_mod.py", "EXTERNALLY-MANAGED")}
    drop |= {path for path in entries if fnmatchcase(path, f"{lib}/lib-dynload/_dbm.*")}  # wants Berkeley DB
    drop |= {path for path in entries if fnmatchcase(path, f"{lib}/lib-dynload/nis.*")}  # wants tirpc and Kerberos
    for path in drop:
        del entries[path]

    def edit(path: str, change: Callable[[bytes], bytes], prefix: bool = False) -> None:
        entry = entries[path]
        entries[path] = Entry(path, change(entry.data), executable=entry.executable, prefix="text" if prefix else None)

    # The module `site` is frozen into the program: same length, so the bytes can be exchanged there too.
    old, new = b"dist-packages", b"site-packages"
    edit(f"bin/python{release.python}", lambda data: _replace(data, old, new, 4, "the frozen site module"))
    edit(f"{lib}/site.py", lambda data: data.replace(old, new))
    edit(
        f"{lib}/sysconfig.py" if f"{lib}/sysconfig.py" in entries else f"{lib}/sysconfig/__init__.py",
        lambda data: _replace(
            data, b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'", 1, "sysconfig"
        ),
    )
    for path in fnmatch_filter(entries, f"{lib}/_sysconfigdata_*.py"):
        if entries[path].link is None:  # the name differs between releases, the other one is a link to it
            edit(path, _build_settings, prefix=True)
    for name in ("python3", "python"):
        entries[f"bin/{name}"] = Entry(f"bin/{name}", link=f"python{release.python}")


def _build_settings(data: bytes) -> bytes:
    """Python's build settings with the prefix for /usr, but for the programs that Debian was built with."""
    zones = b"/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
    data = _replace(data, zones, b"/usr/share/zoneinfo", 1, "_sysconfigdata")
    data = data.replace(b"/usr/lib/x86_64-linux-gnu", b"/usr/lib")
    return re.sub(rb"(?<!\.)/usr(?!/bin/)(?=[/'\" ])", PLACEHOLDER.encode(), data)


def _certificates(entries: dict[str, Entry], contents: dict[str, Content], _release: Release) -> None:
    """Mozilla's roots as one file, where conda-forge's package has it."""
    folder = "usr/share/ca-certificates/mozilla/"
    roots = [data for path, (data, _) in sorted(contents["ca-certificates"].files.items()) if path.startswith(folder)]
    if len(roots) < 100:
        raise ToolError("check-failed", f"only {len(roots)} root certificates in Debian's ca-certificates")
    entries["ssl/cacert.pem"] = Entry("ssl/cacert.pem", b"".join(root.rstrip() + b"\n" for root in roots))
    entries["ssl/cert.pem"] = Entry("ssl/cert.pem", link="cacert.pem")


def _openssl(entries: dict[str, Entry], _contents: dict[str, Content], _release: Release) -> None:
    """Make libcrypto look for its settings, trust store and modules in the prefix, as conda-forge's does."""
    path = "lib/libcrypto.so.3"
    debian = "/usr/lib/x86_64-linux-gnu"
    places = {
        "/usr/lib/ssl": f"{PLACEHOLDER}/ssl",
        "/usr/lib/ssl/cert.pem": f"{PLACEHOLDER}/ssl/cert.pem",
        "/usr/lib/ssl/certs": f"{PLACEHOLDER}/ssl/certs",
        "/usr/lib/ssl/private": f"{PLACEHOLDER}/ssl/private",
        "/usr/lib/ssl/ct_log_list.cnf": f"{PLACEHOLDER}/ssl/ct_log_list.cnf",
        f"{debian}/engines-3": f"{PLACEHOLDER}/lib/engines-3",
        f"{debian}/ossl-modules": f"{PLACEHOLDER}/lib/ossl-modules",
        'OPENSSLDIR: "/usr/lib/ssl"': f'OPENSSLDIR: "{PLACEHOLDER}/ssl"',
        f'ENGINESDIR: "{debian}/engines-3"': f'ENGINESDIR: "{PLACEHOLDER}/lib/engines-3"',
        f'MODULESDIR: "{debian}/ossl-modules"': f'MODULESDIR: "{PLACEHOLDER}/lib/ossl-modules"',
    }
    data = with_prefix_strings(with_rpath(entries[path].data, path), places)
    entries[path] = Entry(path, data, prefix="binary")


FINISH: dict[str, Callable[[dict[str, Entry], dict[str, Content], Release], None]] = {
    "python": _python,
    "ca-certificates": _certificates,
    "openssl": _openssl,
}
"""What a package needs beyond moving its files."""
