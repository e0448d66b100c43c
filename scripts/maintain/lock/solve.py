"""Solve one environment on one platform."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from rattler import (
    BuildString,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    SparseRepoData,
    Subdir,
    Version,
    solve,
    solve_with_sparse_repodata,
)

from maintain.lib.errors import ToolError
from maintain.lock.records import Source
from maintain.manifest import Environment, Manifest, Platform, Spec


def virtual_packages(platform: Platform) -> list[GenericVirtualPackage]:
    """The virtual packages of a platform as the solver takes them."""
    found = []
    for text in platform.virtual_packages:
        name, version, build = (*text.split("=", 2), "")[:3]
        found.append(GenericVirtualPackage(PackageName(name), Version(version), BuildString.new_unchecked(build)))
    return found


async def solve_environment(
    source: Source,
    manifest: Manifest,
    environment: Environment,
    subdir: str,
    keep: Collection[RepoDataRecord] = (),
) -> tuple[RepoDataRecord, ...]:
    """The records of ``environment`` on ``subdir``, sorted by name; ``keep`` is preferred wherever it still fits.

    Raises ``unsatisfiable`` with the solver's explanation and the lines of the manifest it is about.
    """
    requirements = environment.requirements(subdir)
    specs = [match_spec(spec) for spec in requirements]
    platform = manifest.platforms[subdir]
    try:
        if source.folders:
            records = await solve_folder(source.repodata(subdir), specs, platform, keep)
        else:
            records = await solve(
                list(source.channels),
                specs,
                gateway=source.gateway,
                platforms=[Subdir(subdir), Subdir("noarch")],
                locked_packages=list(keep),
                virtual_packages=virtual_packages(platform),
            )
    except ToolError:
        raise
    except Exception as error:
        raise _explained(error, source, requirements, environment, subdir) from error
    return tuple(sorted(records, key=lambda record: str(record.name.normalized)))


async def solve_folder(
    repodata: list[SparseRepoData], specs: list[MatchSpec], platform: Platform, keep: Collection[RepoDataRecord] = ()
) -> list[RepoDataRecord]:
    """Solve ``specs`` from opened repodata with exactly the platform's virtual packages."""
    return await solve_with_sparse_repodata(
        specs, repodata, locked_packages=list(keep), virtual_packages=virtual_packages(platform)
    )


def match_spec(spec: Spec) -> MatchSpec:
    """The solver's form of a requirement; raise ``bad-file`` with its line if it is no match spec."""
    try:
        return MatchSpec(spec.text)
    except Exception as error:  # rattler has a type of its own for each way to be wrong
        raise ToolError("bad-file", f"'{spec.text}' is no match spec", where=spec.where, why=str(error)) from error


def _explained(
    error: Exception, source: Source, requirements: Iterable[Spec], environment: Environment, subdir: str
) -> ToolError:
    text = str(error).strip()
    if type(error).__name__ != "SolverError":
        return ToolError("network", "the channel's records could not be read", where=source.label, why=text)
    named = [spec for spec in requirements if re.search(rf"(?<![\w.-]){re.escape(spec.name)}(?![\w.-])", text)]
    lines = ", ".join(spec.where for spec in named) or environment.where
    return ToolError(
        "unsatisfiable",
        f"environment {environment.name} has no solution on {subdir}",
        where=lines,
        why=text,
        fix="relax one of these specs, or give this platform its own: [feature.NAME.target."
        + subdir
        + ".dependencies]",
    )
