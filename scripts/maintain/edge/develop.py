"""``scripts/develop``: an editable checkout of Prefect in a conda environment, with its dev requirements and hooks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sysconfig
import tempfile
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import Config, Subdir

from maintain import bootstrap
from maintain.channel.specs import conda_name, dependencies
from maintain.edge import uvlock
from maintain.edge.package import extras, graphviz_binding
from maintain.install.choice import Choice, choose
from maintain.install.engine import default_prefix, install
from maintain.install.network import configuration, masked
from maintain.install.plan import Plan, names, solved
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import ToolError
from maintain.lib.server import program
from maintain.manifest import load
from maintain.recipes.catalog import base_specs
from maintain.recipes.lines import MINORS, markers

HOOKS = ".pre-commit-config.yaml"
KIND = str(Subdir.current()).partition("-")[0]
"""The kind of platform that this is: linux, osx, win."""


@click.command(epilog="Example: scripts/develop ~/src/prefect --prefix ~/envs/develop")
@click.argument("checkout", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--group", default="dev", show_default=True, help="The dependency group (or extra) for developers.")
@click.option("--python", metavar="3.N", help="The Python [the newest that Prefect and the channel have].")
@click.option(
    "--prefix", type=click.Path(path_type=Path), metavar="DIR", help="Where to [~/.local/share/prefect-env/develop]."
)
@click.option("--channel", metavar="URL|DIR", help="conda-forge, a mirror of it, or a stand-in [found].")
@tool
def cli(
    checkout: Path, group: str, python: str | None, prefix: Path | None, channel: str | None, as_json: bool
) -> None:
    """Install CHECKOUT, a clone of Prefect, editable, beside our SQLite and OpenSSL; install its pre-commit hooks.

    All requirements that the channel has come from it. What it lacks is named, and taken from the Python index by the
    hashes of the checkout's own uv.lock. Run it again after a change of pyproject.toml.
    """
    checkout = checkout.resolve()
    project = _project(checkout)
    runtime = [Requirement(text) for text in project["project"]["dependencies"]]
    developers = _group(project, group, checkout)
    choice = choose(channel)
    say(str(choice))
    config = configuration()
    there = asyncio.run(names(choice, config))
    wanted = [item for item in developers if conda_name(item.name) in there]
    range_ = SpecifierSet(project["project"].get("requires-python", ""))
    minors = [minor for minor in reversed(MINORS) if range_.contains(minor) and minor == (python or minor)]
    target = prefix or default_prefix("develop")
    planner = partial(_plan, minors=minors, requires=[*runtime, *wanted])
    result = install(target, choice, planner=planner)
    home = Path(result.prefix)
    added = _add(home, checkout, developers)
    _editable(home, checkout)
    hooks = _hooks(home, checkout)
    conflicts = _conflicts(home)
    emit(
        {**result.as_dict(), "checkout": str(checkout), "from_lock": added, "hooks": hooks, "conflicts": conflicts},
        lambda: out.print(f"{home} runs Prefect from {checkout}", markup=False),
        as_json=as_json,
    )


def _project(checkout: Path) -> dict[str, Any]:
    path = checkout / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
        if project["project"]["name"] != "prefect":
            raise ToolError("bad-usage", f"this is {project['project']['name']}, not Prefect", where=str(path))
        project["project"]["dependencies"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(
            "bad-usage",
            "this is no checkout of Prefect 3",
            where=str(path),
            why=f"{type(error).__name__}: {error}",
            fix="name a clone of Prefect whose pyproject.toml lists the dependencies",
        ) from error
    return project


def _group(project: dict[str, Any], name: str, checkout: Path) -> list[Requirement]:
    """The requirements of a dependency group with the groups it includes (PEP 735), or of an extra of that name."""
    groups: dict[str, list[str | dict[str, str]]] = {
        **project["project"].get("optional-dependencies", {}),
        **project.get("dependency-groups", {}),
    }
    if name not in groups:
        raise ToolError(
            "bad-usage", f"there is no group {name}", where=str(checkout), why=f"groups: {', '.join(groups)}"
        )
    found: list[Requirement] = []
    for entry in groups[name]:
        if isinstance(entry, dict):
            found += _group(project, entry["include-group"], checkout)
        else:
            found.append(Requirement(entry))
    return found


def _plan(choice: Choice, config: Config, *, minors: list[str], requires: list[Requirement]) -> Plan:
    """The newest Python of ``minors`` for which the channel has everything."""
    known = extras()
    texts = [str(requirement) for requirement in requires]
    failure = ToolError("bad-usage", "Prefect does not take that Python", fix="leave --python out")
    for minor in minors:
        # What extras of developers' tools ask for is not known here; it is looked for in uv.lock afterwards.
        specs = dependencies(texts, markers(minor, KIND), lambda project: known.get(project, []))
        wanted = [*base_specs(load()), f"python {minor}.*", "pip", *graphviz_binding(specs, lean=choice.stand_in)]
        try:
            return asyncio.run(solved(choice, config, "develop", wanted, ["prefect-env-runtime"]))
        except ToolError as error:
            if error.id != "unsatisfiable":
                raise
            failure = error
    raise failure


def _add(prefix: Path, checkout: Path, developers: list[Requirement]) -> list[str]:
    """Install what the channel lacks of ``developers``, by the hashes of the checkout's uv.lock; its names."""
    present = json.loads(_run(prefix, "-m", "pip", "list", "--format", "json", cwd=prefix, what="pip does not run"))
    version = _run(prefix, "-c", "import sys; print('%d.%d' % sys.version_info[:2])", cwd=prefix, what="Python fails")
    environment = markers(version.strip(), KIND)
    wanted = [item for item in developers if item.marker is None or item.marker.evaluate(environment)]
    installed = {str(canonicalize_name(item["name"])) for item in present}
    locked = uvlock.missing(checkout / "uv.lock", wanted, installed, environment)
    added = [one.pin for one in locked]
    if added:
        say(f"not in the channel, so from the Python index by the hashes of uv.lock: {', '.join(added)}")
    _pip(prefix, [one.line for one in locked if one.wheel], "--only-binary", ":all:")
    _pip(prefix, [one.line for one in locked if not one.wheel], "--no-build-isolation", tools=True)
    return added


def _pip(prefix: Path, lines: list[str], *options: str, tools: bool = False) -> None:
    """Install exactly the files that ``lines`` name by hash; ``tools`` builds sdists with our pinned tools."""
    if not lines:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        words = ["--quiet", "--require-hashes", "--no-deps", *options, "--requirement", str(file)]
        _run(prefix, "-m", "pip", "install", *words, cwd=prefix, tools=tools, what="pip cannot install them")


def _editable(prefix: Path, checkout: Path) -> None:
    """Install ``checkout`` editable, with our pinned build tools, which stay out of the environment."""
    words = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(checkout)]
    _run(prefix, "-m", "pip", "install", *words, cwd=prefix, tools=True, what="the checkout cannot be installed")


def _hooks(prefix: Path, checkout: Path) -> bool:
    """Install the git hooks of ``checkout``; False if it has none. They fetch what they run on their first run."""
    if not (checkout / HOOKS).is_file():
        say(f"no {HOOKS} in the checkout, so no hooks")
        return False
    _run(prefix, "-m", "pre_commit", "install", cwd=checkout, what="pre-commit cannot install its hooks")
    return True


def _conflicts(prefix: Path) -> list[str]:
    """Where a version that the channel has is not the one that a package of uv.lock asks for."""
    try:
        _run(prefix, "-m", "pip", "check", cwd=prefix, what="contradictions")
    except ToolError as error:
        say(f"the channel's versions are not those of uv.lock everywhere:\n{error.why}")
        return (error.why or "").splitlines()
    return []


def _run(prefix: Path, *words: str, cwd: Path, what: str, tools: bool = False) -> str:
    """What the prefix's Python prints for ``words``; ``command-failed`` with ``what`` if it fails.

    ``tools`` puts the build tools of ``requirements/build.txt`` on its path, for this one command.
    """
    foreign = ("PYTHON", "PIP_TARGET", "PIP_USER", "GIT_DIR", "GIT_INDEX_FILE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["PATH"] = os.pathsep.join([str(program(prefix, "python").parent), env.get("PATH", os.defpath)])
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    if tools:
        home = bootstrap.environment("build").parents[1]
        env["PYTHONPATH"] = sysconfig.get_path("purelib", vars={"base": str(home)})
    command = [str(program(prefix, "python")), *words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        why = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-12:])
        raise ToolError("command-failed", what, where=str(cwd), why=masked(why))
    return done.stdout


if __name__ == "__main__":
    main(cli)
