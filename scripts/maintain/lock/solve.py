"""Solve one environment on one platform."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from rattler import MatchSpec, RepoDataRecord

from maintain.lib.errors import ToolError
from maintain.lock.records import ChannelSource, Source
from maintain.manifest import Environment, Manifest, Spec


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
    try:
        records = await source.solve(specs, manifest.platforms[subdir], keep)
    except ToolError:
        raise
    except Exception as error:
        raise _explained(error, source, requirements, environment, subdir) from error
    return tuple(sorted(records, key=lambda record: str(record.name.normalized)))


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
        kind = "network" if isinstance(source, ChannelSource) else "bad-file"
        return ToolError(kind, "the channel's records could not be read", where=source.label, why=text)
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
