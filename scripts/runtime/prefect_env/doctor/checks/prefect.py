"""Prefect: which one, whether it is whole, and whether there is just one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prefect_env import bounds, info
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, fail, merged, ok, skip
from prefect_env.installed import normal
from prefect_env.versions import Version

GROUP = "Prefect"

REINSTALL = "install the environment again (scripts/install, pixi install --locked, or conda create from envs/)"

FAULTY = (
    # first, last, systems, what is wrong
    ("2.7.4", "2.7.4", None, "an upgrade of the database can stop half-way (PrefectHQ/prefect#7984)"),
    ("2.7.11", "2.7.11", None, "its migration breaks older SQLite databases (PrefectHQ/prefect#8417)"),
    (
        "2.13.3",
        "2.13.3",
        None,
        "its last database revision is unknown to every later release (PrefectHQ/prefect#10887)",
    ),
    ("3.0.0", "3.0.2", "windows", "the server does not start on Windows (PrefectHQ/prefect#15414)"),
)
"""Releases that harm, from Prefect's issues; what only depends on the library below is in the library's check."""


@check("prefect", "Prefect is installed")
def prefect(context: Context) -> Result:
    """The fields of ``prefect version`` that stand in files; no database is opened."""
    version = context.prefect
    if version is None:
        return fail(f"no Prefect in {context.host.prefix}", "nothing here can run a flow", REINSTALL)
    fields = [str(version), f"Python {context.host.python}"]
    if context.host.live:
        if not (context.package / "__init__.py").is_file():
            return fail(f"Prefect {version} has no module at {context.package}", "its files are gone", REINSTALL)
        known = info.files_say(context.package)
        fields += [f"{label} {known[key]}" for key, label in LABELS.items() if known.get(key)]
    return ok(", ".join(fields))


LABELS = {"API version": "API", "Git commit": "commit", "Built": "built"}


@check("prefect-release", "This release of Prefect is sound")
def release(context: Context) -> Result:
    """Releases known to lose or break things, and packages beside them that are known to."""
    version = context.prefect
    if version is None:
        return skip("no Prefect")
    for first, last, system, what in FAULTY:
        if Version(first) <= version <= Version(last) and system in (None, context.host.system):
            return fail(f"Prefect {version}", what, "prefect-env upgrade plan")
    return merged(_dead_pairs(context), ok(f"nothing known against {version}"))


def _dead_pairs(context: Context) -> Iterator[Result]:
    """The installed packages that Prefect must not meet; prefect-client alone has no server that they could break."""
    prefect = context.version("prefect")
    names = {record.get("name") for record in context.records if context.host.live}
    packages = {name: found for name in context.host.packages if (found := context.version(name))}
    for bound in bounds.violated(prefect, packages) if prefect else ():
        by_conda = bound.conda.partition(" ")[0] in names or not context.host.live
        yield fail(
            f"{bound.name} {packages[bound.name]} with Prefect {prefect}",
            f"{bound.reason} ({bound.source})",
            f"conda install '{bound.conda}' (or: pixi add)"
            if by_conda
            else f"python -m pip install '{bound.name}{bound.specifier}'",
        )


@check("prefect-single", "There is one Prefect", Needs.FILES)
def single(context: Context) -> Result:
    """Two metadata folders of one project (pip over conda), or prefect and prefect-client together."""
    copies = [copy for copy in context.packages if normal(copy.name) in ("prefect", "prefect-client")]
    if len(copies) < 2:
        return ok(f"{len(copies)} in {context.site}") if copies else skip("no Prefect")
    names = ", ".join(sorted(f"{copy.name} {copy.version}" for copy in copies))
    return fail(
        f"{names} in {context.site}",
        "they write the same files, so the code is a mixture of them",
        REINSTALL,
    )


@check("prefect-import", "Prefect can be imported", Needs.DEEP)
def imports(context: Context) -> Result:
    """Import Prefect and its command line, in a process and a home of their own."""
    python = Path(context.host.prefix) / ("python.exe" if context.host.windows else "bin/python")
    with tempfile.TemporaryDirectory() as home:
        env = {name: value for name, value in context.host.env.items() if not name.startswith("PREFECT_")}
        try:
            done = subprocess.run(
                [str(python), "-c", "import prefect, prefect.cli, prefect.flows"],
                env={**env, "PREFECT_HOME": home},
                cwd=home,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return fail(f"{python} does not run: {error}", fix=REINSTALL)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return fail(
            lines[-1] if lines else f"exit code {done.returncode}", "a package is missing or too new", REINSTALL
        )
    return ok("with its command line")
