"""A recipe apart from any format, and its two forms: rattler-build's (v1) and conda-build's (classic)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from maintain.recipes.emit import When


@dataclass(frozen=True)
class Tests:
    """What is run on the built package in an environment of its own; for a Python package ``pip check`` goes first.

    Each kind of test costs an environment, so ``imports`` are for packages without ``commands``.
    """

    commands: Sequence[str | When] = ()
    files: Sequence[str] = ()
    """Files beside the recipe that the commands need."""
    imports: Sequence[str] = ()


@dataclass(frozen=True)
class Output:
    """One package. Strings may hold v1 expressions (``${{ key }}``), lists may hold :class:`When`."""

    name: str
    version: str
    summary: str
    noarch: Literal["python", "generic"]
    number: int | str = 0
    string: str | None = None
    script: Sequence[str | When] = ()
    entry_points: Sequence[str | When] = ()
    run: Sequence[str | When] = ()
    constraints: Sequence[str | When] = ()
    tests: Tests = field(default_factory=Tests)
    license_file: Sequence[str | When] = ()
    """The licence's file in the working folder once the script has run."""


@dataclass(frozen=True)
class Recipe:
    """A folder of ``recipe/``. ``sources`` are ``{"path", "sha256"}`` of a file or ``{"path"}`` of a folder.

    ``variants`` are the combinations of variant keys to build; all of them have the same keys.
    """

    name: str
    sources: Sequence[dict[str, str] | When]
    outputs: Sequence[Output]
    about: dict[str, str]
    variants: Sequence[dict[str, str]]


def variants(recipe: Recipe) -> dict[str, Any]:
    """``variants.yaml`` and ``conda_build_config.yaml``: every key's values, zipped into the combinations."""
    keys = list(recipe.variants[0])
    columns: dict[str, Any] = {key: [variant[key] for variant in recipe.variants] for key in keys}
    return columns | ({"zip_keys": [keys]} if len(keys) > 1 else {})


def v1(recipe: Recipe) -> dict[str, Any]:
    """The tree of ``recipe.yaml``: https://rattler-build.prefix.dev/latest/reference/recipe_file/"""
    sources = {"source": recipe.sources}
    if len(recipe.outputs) == 1:
        output = recipe.outputs[0]
        body = _v1_output(output)
        return {
            "schema_version": 1,
            "package": body.pop("package"),
            **sources,
            **body,
            "about": {**_about(output), **recipe.about},
        }
    return {
        "schema_version": 1,
        "recipe": {"name": recipe.name, "version": recipe.outputs[0].version},
        **sources,
        "outputs": [_v1_output(output) | {"about": _about(output)} for output in recipe.outputs],
        "about": recipe.about,
    }


def _v1_output(output: Output) -> dict[str, Any]:
    tests = output.tests
    test: dict[str, Any]
    if tests.imports:
        test = {"python": {"imports": tests.imports, "pip_check": True}}
    else:
        test = {
            "script": _commands(output),
            "files": {"recipe": tests.files} if tests.files else {},
            "requirements": {"run": ["pip"]} if output.noarch == "python" else {},
        }
    return {
        "package": {"name": output.name, "version": output.version},
        "build": {
            "number": output.number,
            **({"string": output.string} if output.string else {}),
            "noarch": output.noarch,
            "script": output.script,
            "python": {"entry_points": output.entry_points} if output.entry_points else {},
        },
        "requirements": {"host": _host(output), "run": output.run, "run_constraints": output.constraints},
        "tests": [test],
    }


def classic(recipe: Recipe) -> dict[str, Any]:
    """The tree of ``meta.yaml``: https://docs.conda.io/projects/conda-build/en/stable/resources/define-metadata.html"""
    sources = {"source": [_classic_source(source) for source in recipe.sources]}
    about = {_CLASSIC_ABOUT.get(key, key): value for key, value in recipe.about.items()}
    if len(recipe.outputs) == 1:
        output = recipe.outputs[0]
        body = _classic_output(output)
        identity = {"name": body.pop("name"), "version": body.pop("version")}
        return {"package": identity, **sources, **body, "about": {**_about(output), **about}}
    return {
        # conda-build takes an output with the recipe's own name for the recipe itself.
        "package": {"name": f"{recipe.name}-recipe", "version": recipe.outputs[0].version},
        **sources,
        "outputs": [_classic_output(output) | {"about": {**_about(output), **about}} for output in recipe.outputs],
        "about": about,
    }


_CLASSIC_ABOUT = {"homepage": "home", "repository": "dev_url", "documentation": "doc_url"}


def _classic_source(source: dict[str, str] | When) -> dict[str, str] | When:
    if isinstance(source, When):
        return When(source.condition, [_classic_source(item) for item in source.items])
    # conda-build checks the hash of what it calls a url only, and reads one without a scheme relative to the recipe.
    return {"url" if key == "path" and "sha256" in source else key: value for key, value in source.items()}


def _classic_output(output: Output) -> dict[str, Any]:
    tests = output.tests
    return {
        "name": output.name,
        "version": output.version,
        "build": {
            "number": output.number,
            **({"string": output.string} if output.string else {}),
            "noarch": output.noarch,
            "script": output.script,
            "entry_points": output.entry_points,
        },
        "requirements": {"host": _host(output), "run": output.run, "run_constrained": output.constraints},
        "test": {
            "imports": tests.imports,
            "files": tests.files,
            "requires": ["pip"] if output.noarch == "python" else [],
            "commands": _commands(output),
        },
    }


def _about(output: Output) -> dict[str, Any]:
    return {"summary": output.summary, "license_file": output.license_file}


def _commands(output: Output) -> list[str | When]:
    return [*(["pip check"] if output.noarch == "python" else []), *output.tests.commands]


def _host(output: Output) -> list[str]:
    return ["python"] if output.noarch == "python" else []
