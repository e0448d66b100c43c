"""What to install: the records of one environment or line for this host, from the lock or by solving."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rattler import (
    Channel,
    Config,
    Gateway,
    LockFile,
    MatchSpec,
    PackageRecord,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    solve,
)
from rattler.exceptions import GatewayError, SolverError

from maintain import manifest
from maintain.channel import sets
from maintain.channel.specs import conda_name
from maintain.install.choice import Choice
from maintain.install.network import CONDA_FORGE, client, masked
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK, cache_dir


@dataclass(frozen=True)
class Package:
    """One package of a plan. ``record`` is what conda-meta will say, ``location`` where the archive is fetched."""

    record: RepoDataRecord
    location: str
    sha256: str
    """64 hex digits."""

    @property
    def name(self) -> str:
        """The package's name."""
        return self.record.name.normalized

    @property
    def stem(self) -> str:
        """``name-version-build``: what conda calls a dist, and its file's name in conda-meta."""
        return f"{self.name}-{self.record.version}-{self.record.build}"


@dataclass(frozen=True)
class Plan:
    """Everything an environment will hold, and what was asked for to get it."""

    name: str
    channel: str
    specs: tuple[str, ...]
    packages: tuple[Package, ...]
    how: str
    """``lock`` or ``solve``."""

    @property
    def digest(self) -> str:
        """Changes when any package or spec does."""
        lines = [*self.specs, *sorted(f"{package.sha256} {package.record.url}" for package in self.packages)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make(choice: Choice, config: Config, *, environment: str, line: str | None) -> Plan:
    """The plan for this host.

    A line, and anything from a stand-in, is solved from the channel's repodata, an environment at the locked versions
    of its Python packages; all else comes from ``pixi.lock``, with ``choice.channel`` as the mirror that the locked
    packages are fetched from. Raises ``bad-usage`` for an unknown environment or line,
    ``unsupported-host``, ``unsatisfiable``, ``network``, and ``no-hash``.
    """
    declared = manifest.load()
    if line is None and not choice.stand_in:
        asked = declared.environments.get(environment)
        specs = [spec.text for spec in asked.requirements(str(Subdir.current()))] if asked else []
        return replace(locked(choice, environment, LOCK), specs=tuple(specs))
    if line is not None:
        if line not in declared.lines:
            raise _unknown("line", line, declared.lines)
        specs = [f"prefect-env =={declared.lines[line].prefect}"]
        optional: list[str] = []
    else:
        if environment not in declared.environments:
            raise _unknown("environment", environment, declared.environments)
        requirements = declared.environments[environment].requirements(str(Subdir.current()))
        # A build string names a build of conda-forge's; the stand-in has one build of each version.
        specs = [f"{spec.name} {spec.constraint.partition(' ')[0]}".removesuffix(" *") for spec in requirements]
        # zstd is in every locked environment, by way of other packages; a bundle's installer unpacks with it.
        optional = ["prefect-env-runtime", "zstd"]
        return asyncio.run(_as_locked(choice, config, environment, specs, optional))
    return asyncio.run(solved(choice, config, line, specs, optional))


async def _as_locked(choice: Choice, config: Config, environment: str, specs: list[str], optional: list[str]) -> Plan:
    """What a stand-in has for ``specs``, every Python package at its locked version where it has that one."""
    part = sets.locked_part(environment)
    wanted = {conda_name(project): version for project, version in part.projects.items()}
    try:
        listed = await _gateway(config).query([Channel(choice.channel)], _subdirs(), list(wanted), recursive=False)
    except (GatewayError, OSError) as error:
        raise _unreadable(choice, error) from error
    there = {(record.name.normalized, str(record.version)) for group in listed for record in group}
    pins = [f"{name} =={version}" for name, version in sorted(wanted.items()) if (name, version) in there]
    return await solved(choice, config, environment, [*specs, *pins], optional)


def locked(choice: Choice, environment: str, path: Path) -> Plan:
    """The packages that the lock file ``path`` has for ``environment`` on this host."""
    try:
        lock = LockFile.from_path(path)
    except Exception as error:  # py-rattler has no one exception for this
        raise ToolError("bad-file", "the lock file cannot be read", where=str(path), why=str(error)) from error
    environments = dict(lock.environments())
    if environment not in environments:
        raise _unknown("environment", environment, environments)
    here = environments[environment]
    subdir = str(Subdir.current())
    platform = next((one for one in here.platforms() if str(one.subdir) == subdir), None)
    records = here.conda_repodata_records_for_platform(platform) if platform else None
    if not records:
        known = ", ".join(sorted({str(one.subdir) for one in here.platforms()}))
        raise ToolError(
            "unsupported-host",
            f"environment {environment} is not locked for {subdir}",
            where=str(path),
            why=f"it is locked for: {known}",
        )
    _check_host(records)
    packages = _packages(records, lambda url: _mirrored(url, choice.channel))
    return Plan(environment, CONDA_FORGE, (), packages, "lock")


async def solved(
    choice: Choice,
    config: Config,
    name: str,
    specs: Sequence[str],
    optional: Sequence[str],
    *,
    before: Sequence[str] = (),
) -> Plan:
    """What the solver takes from the channel for ``specs``, plus those ``optional`` packages that the channel has.

    The channels ``before`` go first: what they have is taken from them only.
    """
    there = await names(choice, config) if optional else set()
    wanted = [*specs, *(extra for extra in optional if extra in there)]
    channels = [*map(Channel, before), Channel(choice.channel)]
    try:
        records = await solve(channels, wanted, _gateway(config), _subdirs(), virtual_packages=_virtual_packages())
    except SolverError as error:
        raise ToolError(
            "unsatisfiable",
            f"the channel has no set of packages that makes {name} on this host",
            where=masked(choice.channel),
            why=str(error),
            fix="name another channel with --channel, or build the stand-in with it: "
            "scripts/channel build --line LINE --env ENVIRONMENT",
        ) from error
    except (GatewayError, OSError) as error:
        raise _unreadable(choice, error) from error
    return Plan(name, masked(choice.channel), tuple(wanted), _packages(records, lambda url: url), "solve")


async def names(choice: Choice, config: Config) -> set[str]:
    """The names of the packages that the channel has for this host. Raises ``network``."""
    try:
        found = await _gateway(config).names([Channel(choice.channel)], _subdirs())
    except (GatewayError, OSError) as error:
        raise _unreadable(choice, error) from error
    return {name.normalized for name in found}


def _gateway(config: Config) -> Gateway:
    return Gateway.from_config(config, cache_dir=cache_dir() / "repodata", client=client(config))


def _subdirs() -> list[Subdir]:
    return [Subdir.current(), Subdir("noarch")]


def _unreadable(choice: Choice, error: Exception) -> ToolError:
    return ToolError(
        "network",
        "the channel's repodata cannot be read",
        where=masked(choice.channel),
        why=masked(str(error)),
        fix="check the URL, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE, or name a mirror with --channel",
    )


def _packages(records: Iterable[RepoDataRecord], place: Callable[[str], str]) -> tuple[Package, ...]:
    packages = []
    for record in records:
        if not record.sha256:
            raise ToolError(
                "no-hash",
                f"{record.file_name} has no sha256, so it cannot be verified",
                where=masked(record.url),
                fix="have the channel indexed again with hashes, or lock another build of it",
            )
        packages.append(Package(record, place(record.url), record.sha256.hex()))
    return tuple(sorted(packages, key=lambda package: package.name))


def _mirrored(url: str, channel: str) -> str:
    """The same file below another channel's address; a mirror keeps the subdirs and file names."""
    return channel + url.removeprefix(CONDA_FORGE) if url.startswith(f"{CONDA_FORGE}/") else url


def _virtual_packages() -> list[VirtualPackage]:
    """What this host has; ``CONDA_OVERRIDE_GLIBC`` and its like count, as with conda and pixi."""
    return VirtualPackage.detect(VirtualPackageOverrides.from_env())


def _check_host(records: Iterable[RepoDataRecord]) -> None:
    """Raise ``unsupported-host`` unless this host has every virtual package that a record depends on."""
    found = [package.into_generic() for package in _virtual_packages()]
    subdir = str(Subdir.current())
    host = [PackageRecord(one.name, str(one.version), one.build_string, 0, subdir) for one in found]
    wanted = {spec: record for record in records for spec in record.depends if spec.startswith("__")}
    for spec, record in sorted(wanted.items(), key=lambda item: item[0]):
        if not any(MatchSpec(spec).matches(one) for one in host):
            raise ToolError(
                "unsupported-host",
                f"this host does not have {spec}",
                where=record.file_name,
                why="it has " + ", ".join(f"{one.name.normalized} {one.version}" for one in found),
                fix="install on a newer system, or choose an environment whose packages ask for less",
            )


def _unknown(kind: str, name: str, known: Iterable[str]) -> ToolError:
    return ToolError("bad-usage", f"there is no {kind} {name}", why=f"there are: {', '.join(sorted(known))}")
