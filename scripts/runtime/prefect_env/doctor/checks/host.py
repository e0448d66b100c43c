"""The host against what the environment was built for."""

from __future__ import annotations

import os
from pathlib import Path

from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, fail, ok, skip, warn
from prefect_env.versions import Version

GROUP = "Host"

SUBDIRS = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "x86_64"): "osx-64",
    ("darwin", "arm64"): "osx-arm64",
    ("windows", "amd64"): "win-64",
}

RHEL_SYSTEM = {7: ("3.7.17", "1.0.2k"), 8: ("3.26.0", "1.1.1k"), 9: ("3.34.1", "3.0.7")}
"""RHEL's major version -> its SQLite and OpenSSL (shared by CentOS, Rocky, Alma and Oracle Linux)."""

LEAST_OPEN_FILES = {"linux": 1024, "darwin": 256}
"""The systems' own defaults: somebody lowered what is below."""

UNITS = Path("/etc/systemd/system")


@check("glibc", "The C library is new enough")
def glibc(context: Context) -> Result:
    """The host's glibc against the highest floor of the installed packages."""
    if context.host.system != "linux":
        return skip("not Linux")
    floor = context.floors["__glibc"]
    if not context.host.glibc:
        return fail("no glibc", "musl (Alpine) cannot load conda's packages", "use a host or image with glibc")
    evidence = f"glibc {context.host.glibc}, needs {floor}"
    if Version(context.host.glibc) < floor:
        fix = "install the environment whose lock is for this host (README, platforms), or use a newer host"
        return fail(evidence, "programs stop with 'GLIBC_x.y not found'", fix)
    return ok(evidence)


@check("kernel", "The system is new enough")
def kernel(context: Context) -> Result:
    """Linux's kernel or macOS's version against the floor."""
    host = context.host
    if host.system == "linux":
        found, floor, name = host.kernel, context.floors["__linux"], "Linux"
    elif host.system == "darwin":
        found, floor, name = host.release.get("VERSION_ID", ""), context.floors["__osx"], "macOS"
    else:
        return ok(f"Windows {host.release.get('VERSION_ID', '')}")
    try:
        version = Version(found)
    except ValueError:
        return skip(f"{name} {found}")
    evidence = f"{name} {found}, needs {floor}"
    return (
        fail(evidence, "the environment is solved for newer systems", "use a newer host")
        if version < floor
        else ok(evidence)
    )


@check("architecture", "The packages are for this processor")
def architecture(context: Context) -> Result:
    """The subdir of the installed packages against the host's."""
    host = context.host
    ours = SUBDIRS.get((host.system, host.machine.lower()))
    if ours is None:
        return warn(f"{host.system} on {host.machine}", "no environment is locked for it", "see the README, platforms")
    subdirs = (
        sorted({str(record.get("subdir")) for record in context.records} - {"noarch", "None"}) if host.live else []
    )
    other = [subdir for subdir in subdirs if subdir != ours]
    if other == ["osx-64"] and ours == "osx-arm64":
        return warn(
            "osx-64 packages on Apple silicon", "they run emulated, at half speed", "install the osx-arm64 lock"
        )
    if other:
        return fail(f"{', '.join(other)} packages on {ours}", "'exec format error'", f"install the lock of {ours}")
    return ok(ours)


@check("system-libraries", "The system's own libraries are not needed")
def system_libraries(context: Context) -> Result:
    """What Prefect would get from RHEL's SQLite and OpenSSL; of use when ours are not loaded."""
    release = context.host.release
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    major = release.get("VERSION_ID", "").partition(".")[0]
    name = release.get("PRETTY_NAME") or f"{release.get('ID', 'unknown')} {release.get('VERSION_ID', '')}".strip()
    if (
        not family & {"rhel", "centos"}
        or not major.isdigit()
        or int(major) not in RHEL_SYSTEM
        or release["ID"] == "fedora"
    ):
        return ok(name)
    sqlite, openssl = RHEL_SYSTEM[int(major)]
    loaded = context.host.library("SQLite")
    evidence = f"{name}: its SQLite is {sqlite}, its OpenSSL {openssl}"
    if loaded and loaded.version == sqlite and not (loaded.path and context.host.inside(loaded.path)):
        cause = "Prefect needs 3.24" if Version(sqlite) < "3.24" else "some releases of Prefect need 3.33"
        return (fail if Version(sqlite) < "3.24" else warn)(
            f"{evidence}; that SQLite is loaded", cause, "unset LD_LIBRARY_PATH"
        )
    return ok(f"{evidence}; the environment's are loaded instead")


@check("selinux", "SELinux lets the environment run")
def selinux(context: Context) -> Result:
    """Services cannot run programs below home folders when SELinux enforces."""
    host = context.host
    if host.selinux != "enforcing":
        return ok(host.selinux) if host.selinux else skip("not in use")
    homes = ("/home", "/root", host.env.get("HOME") or "/root")
    if any(host.inside_pure(host.prefix, home) for home in homes):
        services = _services(host.prefix) if host.live else []
        if services:
            return warn(
                f"SELinux enforces, {', '.join(services)} runs programs of {host.prefix}",
                "a systemd service cannot run programs below a home folder",
                "install below /opt or /srv, or give its bin folder the type bin_t with semanage and restorecon",
            )
        return ok("enforcing; services need an environment outside of home folders")
    return ok("enforcing")


def _services(prefix: str) -> list[str]:
    """The systemd services that name the prefix."""
    return [path.name for path in sorted(UNITS.glob("*.service")) if prefix in path.read_text(errors="replace")]


@check("open-files", "Enough files may be open")
def open_files(context: Context) -> Result:
    """Each flow run holds sockets and pipes; a server holds one for each client too."""
    limit = context.host.open_files
    if limit is None:
        return skip("no limit known")
    if limit < LEAST_OPEN_FILES.get(context.host.system, 0):
        fix = "ulimit -n 4096 (LimitNOFILE= in a systemd service)"
        return warn(f"{limit} files", "servers and workers stop with 'Too many open files'", fix)
    return ok(f"{limit} files")


@check("byte-code", "Byte code is there", Needs.FILES)
def byte_code(context: Context) -> Result:
    """Without it every start of an environment that cannot be written compiles anew and takes twice as long."""
    if not context.package.is_dir():
        return skip("no Prefect")
    if os.access(context.package, os.W_OK) or any((context.package / "__pycache__").glob("*.pyc")):
        return ok("yes, or made at the first start")
    return warn(
        f"{context.prefix} is read-only and has no byte code",
        "every start takes twice as long",
        f"its owner runs: {context.prefix}/bin/python -m compileall -q {context.prefix}/lib",
    )
