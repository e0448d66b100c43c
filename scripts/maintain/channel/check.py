"""Check a stand-in channel: install each line's packages into a prefix and see that they stand on their own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rattler import Channel, Subdir, VirtualPackage, install, solve
from rattler.exceptions import SolverError

from maintain.channel import base, wheels
from maintain.channel.build import OURS
from maintain.channel.specs import conda_name
from maintain.lib.errors import ToolError

LOADERS = ("greenlet", "sqlalchemy", "orjson")
"""Packages of every line with extension modules; greenlet's wants libstdc++."""

LIBRARIES = ("libsqlite3.so", "libssl.so", "libcrypto.so", "libstdc++.so", "libgcc_s.so", "libz.so", "libexpat.so")
"""What must come from the prefix."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, whether it is as it should be, and what was found."""

    name: str
    ok: bool
    found: str


def check_line(line: str, channel: Path) -> list[Check]:
    """Install ``line``'s packages (all but those of recipe/) from ``channel`` into a temporary prefix and check it."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-channel-") as folder:
        prefix = install_line(line, channel, Path(folder, "prefix"))
        return [*checks(prefix)]


def install_line(line: str, channel: Path, prefix: Path) -> Path:
    """Install what ``line`` needs from ``channel`` into ``prefix``, exactly as pinned; raises ``unsatisfiable``."""
    specs = [entry.name for entry in base.table()]
    specs += [f"{conda_name(pin.name)} =={pin.version}" for pin in wheels.pins(line) if pin.name not in OURS]

    async def run() -> None:
        records = await solve(
            [Channel(channel.absolute().as_uri())],
            specs,
            platforms=[Subdir("linux-64"), Subdir("noarch")],
            virtual_packages=VirtualPackage.detect(),
        )
        # A package cache of its own: the checked channel may hold other bytes under the names of a former one.
        await install(records, prefix, cache_dir=prefix.with_name("packages"))

    try:
        asyncio.run(run())
    except SolverError as error:
        raise ToolError("unsatisfiable", f"line {line} cannot be solved", where=str(channel), why=str(error)) from error
    return prefix


def checks(prefix: Path) -> Iterator[Check]:
    """Look at an installed prefix, the second time with other copies of its libraries on LD_LIBRARY_PATH."""
    plain = probe(prefix, {})
    with tempfile.TemporaryDirectory(prefix="prefect-env-hostile-") as hostile:
        for library in (prefix / "lib").glob("lib*.so*"):
            shutil.copy(library, hostile)
        hostile_env = {"LD_LIBRARY_PATH": hostile}
        versions = f"Python {plain['python']}, SQLite {plain['sqlite']}, {plain['openssl']}"
        yield Check("modules", not plain["missing"], ", ".join(plain["missing"]) or versions)
        for name, result in (("isolation", plain), ("isolation, hostile LD_LIBRARY_PATH", probe(prefix, hostile_env))):
            wrong = result["outside"] + [
                library for library in LIBRARIES if not any(library in path for path in result["inside"])
            ]
            yield Check(name, not wrong, ", ".join(wrong) or ", ".join(result["inside"]))
        for program in ("openssl", "sqlite3"):
            wrong = [path for path in _loaded(prefix / "bin" / program, hostile) if path.startswith(hostile)]
            yield Check(
                f"{program} program, hostile LD_LIBRARY_PATH", not wrong, ", ".join(wrong) or "its own libraries"
            )
    inside = [*plain["path"], *plain["zones"], plain["site"], *plain["settings"]]
    wrong = [path for path in inside if not f"{path}/".startswith(f"{prefix}/")]
    yield Check("paths", not wrong, ", ".join(wrong) or plain["site"])
    store = (plain["cafile"], plain["capath"])
    trusted = store == (f"{prefix}/ssl/cert.pem", f"{prefix}/ssl/certs") and plain["roots"] > 100
    yield Check("trust store", trusted, f"{plain['cafile']} with {plain['roots']} roots")
    directory = _run([str(prefix / "bin" / "openssl"), "version", "-d"]).stdout.strip()
    yield Check("openssl version -d", directory == f'OPENSSLDIR: "{prefix}/ssl"', directory)
    yield Check("pip check", plain["pip_code"] == 0, plain["pip"])


def probe(prefix: Path, env: dict[str, str]) -> dict[str, Any]:
    """What ``probe.py`` says, run by the prefix's Python with no variables but ``env``."""
    done = _run([str(prefix / "bin" / "python"), str(Path(__file__).with_name("probe.py")), *LOADERS], env)
    if done.returncode:
        raise ToolError(
            "check-failed", "the Python of the prefix fails", where=str(prefix), why=done.stderr.strip()[-800:]
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _loaded(program: Path, hostile: str) -> list[str]:
    """The libraries that the dynamic linker would load for ``program``."""
    done = _run([str(program)], {"LD_LIBRARY_PATH": hostile, "LD_TRACE_LOADED_OBJECTS": "1"})
    return [line.split(" => ")[1] for line in done.stdout.splitlines() if " => " in line]


def _run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env or {}, capture_output=True, text=True, check=False)
