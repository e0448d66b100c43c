"""Check a stand-in channel: install each line's packages into a prefix and see that they stand on their own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rattler import (
    BuildString,
    Channel,
    GenericVirtualPackage,
    PackageName,
    Subdir,
    Version,
    VirtualPackage,
    install,
    solve,
)
from rattler.exceptions import SolverError

from maintain.channel import base, wheels
from maintain.channel.build import OURS, release_of
from maintain.channel.release import Release
from maintain.channel.root import Root, root_of
from maintain.channel.specs import conda_name
from maintain.lib.errors import ToolError

LOADERS = ("greenlet", "sqlalchemy", "orjson")
"""Packages with extension modules that every line but 1.4 has; greenlet's wants :data:`COMPILERS`."""

LIBRARIES = ("libsqlite3.so", "libssl.so", "libcrypto.so", "libz.so", "libexpat.so")
"""What must come from the prefix."""

COMPILERS = ("libstdc++.so", "libgcc_s.so")
"""What must come from the prefix, too, where a package wants it."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, whether it is as it should be, and what was found."""

    name: str
    ok: bool
    found: str


def check_line(line: str, channel: Path) -> list[Check]:
    """Install ``line``'s packages (all but those of recipe/) from ``channel`` into a temporary prefix and check it.

    What is of another Debian release than this machine's runs in a root of that release.
    """
    root = root_of(release_of(channel))
    with tempfile.TemporaryDirectory(prefix="prefect-env-channel-") as folder:
        prefix = install_line(line, channel, Path(folder, "prefix"))
        return [*checks(prefix, root)]


def install_line(line: str, channel: Path, prefix: Path) -> Path:
    """Install what ``line`` needs from ``channel`` into ``prefix``, exactly as pinned; raises ``unsatisfiable``."""
    release = release_of(channel)
    specs = [entry.name for entry in base.table(release)]
    specs += [f"{conda_name(pin.name)} =={pin.version}" for pin in wheels.pins(line) if pin.name not in OURS]

    async def run() -> None:
        records = await solve(
            [Channel(channel.absolute().as_uri())],
            specs,
            platforms=[Subdir("linux-64"), Subdir("noarch")],
            virtual_packages=virtual_packages(release),
        )
        # A package cache of its own: the checked channel may hold other bytes under the names of a former one.
        await install(records, prefix, cache_dir=prefix.with_name("packages"))

    try:
        asyncio.run(run())
    except SolverError as error:
        raise ToolError("unsatisfiable", f"line {line} cannot be solved", where=str(channel), why=str(error)) from error
    return prefix


def virtual_packages(release: Release) -> list[GenericVirtualPackage]:
    """This machine's virtual packages for a solver, with the glibc of ``release``."""
    found = [package.into_generic() for package in VirtualPackage.detect()]
    glibc = GenericVirtualPackage(PackageName("__glibc"), Version(f"2.{release.glibc}"), BuildString("0"))
    return [glibc if package.name.normalized == "__glibc" else package for package in found]


def checks(prefix: Path, root: Root) -> Iterator[Check]:
    """Look at a prefix that is for ``root``, the second time with other copies of its libraries on LD_LIBRARY_PATH."""
    plain = probe(prefix, root, {})
    with tempfile.TemporaryDirectory(prefix="prefect-env-hostile-") as hostile:
        for library in (prefix / "lib").glob("lib*.so*"):
            shutil.copy(library, hostile)
        hostile_env = {"LD_LIBRARY_PATH": hostile}
        expected = LIBRARIES + (COMPILERS if "greenlet" in loaders(prefix) else ())
        versions = f"Python {plain['python']}, SQLite {plain['sqlite']}, {plain['openssl']}"
        yield Check("modules", not plain["missing"], ", ".join(plain["missing"]) or versions)
        for name, result in (
            ("isolation", plain),
            ("isolation, hostile LD_LIBRARY_PATH", probe(prefix, root, hostile_env, hostile)),
        ):
            wrong = result["outside"] + [
                library for library in expected if not any(library in path for path in result["inside"])
            ]
            yield Check(name, not wrong, ", ".join(wrong) or ", ".join(result["inside"]))
        for program in ("openssl", "sqlite3"):
            wrong = [path for path in _loaded(prefix / "bin" / program, root, hostile) if path.startswith(hostile)]
            yield Check(
                f"{program} program, hostile LD_LIBRARY_PATH", not wrong, ", ".join(wrong) or "its own libraries"
            )
    inside = [*plain["path"], *plain["zones"], plain["site"], *plain["settings"]]
    wrong = [path for path in inside if not f"{path}/".startswith(f"{prefix}/")]
    yield Check("paths", not wrong, ", ".join(wrong) or plain["site"])
    store = (plain["cafile"], plain["capath"])
    trusted = store == (f"{prefix}/ssl/cert.pem", f"{prefix}/ssl/certs") and plain["roots"] > 100
    yield Check("trust store", trusted, f"{plain['cafile']} with {plain['roots']} roots")
    directory = _run([prefix / "bin" / "openssl", "version", "-d"], root, [prefix]).stdout.strip()
    yield Check("openssl version -d", directory == f'OPENSSLDIR: "{prefix}/ssl"', directory)
    yield Check("pip check", plain["pip_code"] == 0, plain["pip"])


def loaders(prefix: Path) -> list[str]:
    """Those of :data:`LOADERS` that are installed in ``prefix``."""
    return [name for name in LOADERS if any((prefix / "conda-meta").glob(f"{name}-[0-9]*.json"))]


def probe(prefix: Path, root: Root, env: dict[str, str], *folders: str) -> dict[str, Any]:
    """What ``probe.py`` says, run by the prefix's Python with no variables but ``env``; it also sees ``folders``."""
    script = Path(__file__).with_name("probe.py")
    binds = [prefix, script.parent, *map(Path, folders)]
    done = _run([prefix / "bin" / "python", script, *loaders(prefix)], root, binds, env)
    if done.returncode:
        raise ToolError(
            "check-failed", "the Python of the prefix fails", where=str(prefix), why=done.stderr.strip()[-800:]
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _loaded(program: Path, root: Root, hostile: str) -> list[str]:
    """The libraries that the dynamic linker would load for ``program``."""
    env = {"LD_LIBRARY_PATH": hostile, "LD_TRACE_LOADED_OBJECTS": "1"}
    done = _run([program], root, [program.parents[1], Path(hostile)], env)
    return [line.split(" => ")[1] for line in done.stdout.splitlines() if " => " in line]


def _run(
    words: Sequence[str | Path], root: Root, binds: Sequence[Path], env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # env(1) sets the variables, as they are for the program and not for what gets it into the root.
    variables = [f"{name}={value}" for name, value in (env or {}).items()]
    command = root.command(["/usr/bin/env", "-i", *variables, *words], binds)
    return subprocess.run(command, env={}, capture_output=True, text=True, check=False)
