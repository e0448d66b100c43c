"""What must hold for the packages of every lock, whatever the manifest says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.version import Version
from rattler import BuildString, MatchSpec, PackageRecord, RepoDataRecord

from maintain.check.finding import Finding
from maintain.lib.errors import ToolError
from maintain.lock.lockfile import Lock
from maintain.lock.package import Package, solution
from maintain.lock.records import FolderSource
from maintain.lock.solve import solve_environment
from maintain.manifest import Manifest

CONDA_FORGE = "https://conda.anaconda.org/conda-forge"
GLIBC, KERNEL = "2.17", "3.10"
"""RHEL 7; every Linux package must run there."""
FLOORS = {"libsqlite": Version("3.24"), "openssl": Version("3")}
"""SQLite 3.24 is the oldest Prefect's server accepts; OpenSSL 1 gets no more fixes."""
FIX = "scripts/lock --update"


def packages(lock: Lock) -> Iterator[Finding]:
    """Hashes, addresses, licences and floors of every locked package."""
    seen: set[tuple[str, str | None]] = set()
    for (environment, subdir), group in solution(lock.records).items():
        for package in group:
            where = f"{environment} on {subdir}: {package.id}"
            if (package.url, package.sha256) not in seen:
                seen.add((package.url, package.sha256))
                yield from _package(package, where)
            floor = FLOORS.get(package.name)
            if floor and Version(re.sub(r"[a-z]+$", "", package.version)) < floor:
                yield Finding("floors", where, f"{package.name} must be {floor} or newer", FIX)
        for name in FLOORS.keys() - {package.name for package in group}:
            yield Finding("floors", f"{environment} on {subdir}", f"{name} is not locked", FIX)


def _package(package: Package, where: str) -> Iterator[Finding]:
    if not package.sha256:
        yield Finding("hashes", where, "it has no SHA-256", FIX)
    if not package.license:
        yield Finding("licences", where, "its record has no licence", FIX)
    names = {
        f"{CONDA_FORGE}/{package.subdir}/{package.name}-{package.version}-{package.build}{end}"
        for end in (".conda", ".tar.bz2")
    }
    if package.url not in names:
        yield Finding("addresses", where, f"{package.url} is not where conda-forge keeps this package", FIX)
    if package.subdir.startswith("linux-"):
        glibc = PackageRecord("__glibc", GLIBC, BuildString("0"), 0, package.subdir)
        for text in package.depends:
            if text.split()[0] == "__glibc" and not MatchSpec(text).matches(glibc):
                yield Finding("glibc", where, f"it needs {text}; RHEL 7 has {GLIBC}", FIX)


def linux_floor(manifest: Manifest) -> Iterator[Finding]:
    """Whether the Linux platforms are declared for RHEL 7."""
    for subdir, platform in manifest.platforms.items():
        wanted = {f"__glibc={GLIBC}", f"__linux={KERNEL}"}
        if subdir.startswith("linux-") and not wanted <= set(platform.virtual_packages):
            declared = ", ".join(platform.virtual_packages)
            what = f"{subdir} is declared for {declared}, not for glibc {GLIBC} and kernel {KERNEL}"
            yield Finding("glibc", str(manifest.path), what, "correct pixi.toml, then run scripts/lock")


async def solves_again(manifest: Manifest, lock: Lock) -> list[Finding]:
    """Whether the solver finds the same solution from the locked records alone, with the declared virtual packages."""
    found: list[Finding] = []
    for (name, subdir), records in lock.records.items():
        environment = manifest.environments.get(name)
        if environment is None or subdir not in environment.platforms:
            continue  # reported by the satisfiability rules
        where = f"{name} on {subdir}"
        with tempfile.TemporaryDirectory(prefix="prefect-env-check-") as folder:
            for part in (subdir, "noarch"):
                _write_repodata(Path(folder) / part / "repodata.json", part, records)
            try:
                source = FolderSource(Path(folder), manifest.channels[0], Path(folder))
                again = await solve_environment(source, manifest, environment, subdir)
            except ToolError as error:
                found.append(Finding("solves-again", where, f"the locked records are no solution: {error.why}", FIX))
                continue
        if {record.url for record in again} != {record.url for record in records}:
            found.append(Finding("solves-again", where, "the solver needs other packages than those locked", FIX))
    return found


def _write_repodata(path: Path, subdir: str, records: tuple[RepoDataRecord, ...]) -> None:
    entries: dict[str, dict[str, dict[str, Any]]] = {"packages": {}, "packages.conda": {}}
    for record in records:
        if record.subdir == subdir:
            part = "packages.conda" if record.file_name.endswith(".conda") else "packages"
            entries[part][record.file_name] = {
                "name": record.name.normalized,
                "version": str(record.version),
                "build": str(record.build),
                "build_number": record.build_number,
                "depends": record.depends,
                "constrains": record.constrains,
                "subdir": subdir,
                "size": record.size or 0,
            }
    path.parent.mkdir()
    path.write_text(json.dumps({"info": {"subdir": subdir}, **entries}), encoding="utf-8")


def policy(root: Path) -> Iterator[Finding]:
    """What pixi-policy, a third party's reader of lock files, says by the repository's policy."""
    file = root / "pixi-policy.toml"
    program = shutil.which("pixi-policy", path=f"{Path(sys.executable).parent}") or shutil.which("pixi-policy")
    if program is None:
        yield Finding("policy", str(file), "pixi-policy is not installed", "run scripts/check, which brings it")
        return
    command = [program, "check", "--manifest-path", str(root / "pixi.toml"), "--policy", str(file), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        yield Finding("policy", str(file), f"pixi-policy failed: {done.stderr.strip()}", "correct pixi-policy.toml")
        return
    for item in report["findings"]:
        if item["severity"] == "error":
            where = " ".join(
                str(item[key]) for key in ("environment", "platform", "package", "version") if item.get(key)
            )
            yield Finding("policy", where or str(file), f"{item['rule']}: {item['message']}", item.get("help") or FIX)
