"""Our recipes, one function each: from the manifest and the lines' data to the :class:`Recipe`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from maintain.channel.pin import RUNTIME as RUNTIME_NEEDS
from maintain.channel.specs import match_spec
from maintain.lib.paths import RECIPES
from maintain.manifest import Manifest
from maintain.recipes.emit import When
from maintain.recipes.lines import BINDING, PLATFORMS, Line
from maintain.recipes.model import Output, Recipe, Tests

WHEELS = "../../.build/sources"
"""Where the recipes find the wheels (``scripts/recipe fetch`` puts them there), relative to a recipe's folder."""

UNPACK = 'python "$RECIPE_DIR/../unpack_wheel.py"'

CONDITION = 'prefect_version == "{}"'


def catalog(manifest: Manifest, lines: Sequence[Line]) -> list[Recipe]:
    """Every recipe of ``recipe/`` that is generated."""
    return [prefect(lines), graphviz(lines), environment(manifest, lines)]


def prefect(lines: Sequence[Line]) -> Recipe:
    """Prefect itself: one variant per line and span of Python versions."""
    tests = sorted(f"tests/{path.name}" for path in (RECIPES / "prefect" / "tests").glob("*.py"))
    output = Output(
        name="prefect",
        version="${{ prefect_version }}",
        summary="Workflow orchestration and management",
        noarch="python",
        script=_by_line(lines, lambda line: [f'{UNPACK} --edits "$RECIPE_DIR/edits.json"' if line.draws else UNPACK]),
        license_file=["LICENSE"],
        entry_points=_by_line(lines, lambda line: line.metadata["entry_points"]),
        run=["python ${{ python_range }}", *_requirements(lines)],
        constraints=_by_line(lines, lambda line: line.constraints),
        tests=Tests(
            files=tests,
            commands=["prefect version", *(f"python {name}" for name in tests if "/check_" in name)],
        ),
    )
    return Recipe(
        "prefect",
        _by_line(lines, lambda line: [_wheel(line.wheels["prefect"])]),
        [output],
        {
            "homepage": "https://www.prefect.io",
            "license": "Apache-2.0",
            "repository": "https://github.com/PrefectHQ/prefect",
            "documentation": "https://docs.prefect.io",
        },
        [{"prefect_version": line.prefect, "python_range": span.python} for line in lines for span in line.spans],
    )


def graphviz(lines: Sequence[Line]) -> Recipe:
    """graphviz's Python binding: ``lean`` ships it, ``full`` is conda-forge's package with the whole of graphviz."""
    newest = newest_binding(lines)
    version = newest.metadata["versions"]["graphviz"]
    lean, full = 'graphviz_binding == "lean"', 'graphviz_binding == "full"'
    output = Output(
        name=BINDING,
        version=version,
        summary="graphviz's Python binding for Prefect, without graphviz itself",
        noarch="python",
        # The higher number makes every solver prefer the lean build where nothing asks for python-graphviz.
        number=f"${{{{ 1 if {lean} else 0 }}}}",
        string=f'${{{{ "lean_1" if {lean} else "full_0" }}}}',
        script=[When(lean, [UNPACK])],
        license_file=[When(lean, ["LICENSE.txt"])],
        run=["python >=3.9", When(full, [f"python-graphviz >={version}"])],
        # conda-forge's package has the same files.
        constraints=[When(lean, ["python-graphviz <0a0"])],
        tests=Tests(imports=["graphviz"]),
    )
    return Recipe(
        BINDING,
        [When(lean, [_wheel(newest.wheels["graphviz"])])],
        [output],
        {"homepage": "https://github.com/xflr6/graphviz", "license": "MIT"},
        [{"graphviz_binding": build} for build in ("lean", "full")],
    )


def newest_binding(lines: Sequence[Line]) -> Line:
    """The line that pins the newest graphviz: every line's channel gets that one."""
    return max((line for line in lines if line.draws), key=lambda line: Version(line.metadata["versions"]["graphviz"]))


def environment(manifest: Manifest, lines: Sequence[Line]) -> Recipe:
    """The metapackage of each line, the runtime package that it brings, and the extra for flow.visualize()."""
    floors = {
        name: version
        for name, _, version in (item.partition("=") for item in manifest.platforms["linux-64"].virtual_packages)
    }
    system = {
        "linux": [f"__linux >={floors['__linux']}", f"__glibc >={floors['__glibc']}"],
        "osx": ["__osx"],
        "win": ["__win"],
    }
    runtime = Output(
        name="prefect-env-runtime",
        version=manifest.version,
        summary="The prefect-env command and the activation scripts for proxies and certificates",
        noarch="python",
        script=['python "$RECIPE_DIR/install_runtime.py"'],
        license_file=["LICENSE"],
        entry_points=["prefect-env = prefect_env.cli:main"],
        run=["python >=3.9", *(match_spec(Requirement(text)) for text in RUNTIME_NEEDS)],
        tests=Tests(commands=["prefect-env --help", "prefect-env --version"]),
    )
    metapackage = Output(
        name="prefect-env",
        version="${{ prefect_version }}",
        summary="Prefect beside the SQLite, OpenSSL and certificates that it needs",
        noarch="generic",
        string="${{ system }}_0",
        run=[
            *base_specs(manifest),
            "prefect ==${{ prefect_version }}",
            f"prefect-env-runtime >={manifest.version}",
            *_by_line(lines, lambda line: [f"python {line.python}"]),
            *(When(f'system == "{name}"', requires) for name, requires in system.items()),
        ],
        tests=Tests(commands=["prefect-env info"]),
    )
    visualize = Output(
        name="prefect-visualize",
        version=manifest.version,
        summary="What Prefect's flow.visualize() needs: the graphviz programs",
        noarch="generic",
        run=[BINDING, "graphviz"],
        tests=Tests(commands=["dot -V"]),
    )
    return Recipe(
        "prefect-env",
        [{"path": "../../scripts/runtime"}],
        [metapackage, runtime, visualize],
        {"license": "Apache-2.0"},
        [{"prefect_version": line.prefect, "system": name} for line in lines for name in PLATFORMS],
    )


def base_specs(manifest: Manifest) -> list[str]:
    """The match specs of what stands below every Prefect: SQLite, OpenSSL, certificates."""
    specs = manifest.environments["default"].specs("osx-64")  # linux-64's ask for a build of conda-forge's libsqlite
    return [
        f"{name} {specs[name]}".removesuffix(" *") for name in ("ca-certificates", "libsqlite", "openssl", "sqlite")
    ]


def _requirements(lines: Sequence[Line]) -> list[str | When]:
    """Prefect's requirements: what a line's spans have in common, then what only one span asks for."""
    found: list[str | When] = []
    for line in lines:
        common = set.intersection(*(set(span.requires) for span in line.spans))
        condition = CONDITION.format(line.prefect)
        found.append(When(condition, sorted(common)))
        found += [
            When(f'{condition} and python_range == "{span.python}"', own)
            for span in line.spans
            if (own := sorted(set(span.requires) - common))
        ]
    return found


def _by_line(lines: Sequence[Line], items: Callable[[Line], Iterable[Any]]) -> list[Any]:
    """``items`` of each line, said once for the lines that have the same; without a condition if all have."""
    groups: list[tuple[list[str], list[Any]]] = []
    for line in lines:
        value = list(items(line))
        same = [conditions for conditions, other in groups if other == value]
        if same:
            same[0].append(CONDITION.format(line.prefect))
        elif value:
            groups.append(([CONDITION.format(line.prefect)], value))
    if len(groups) == 1 and len(groups[0][0]) == len(lines):
        return groups[0][1]
    return [When(" or ".join(conditions), value) for conditions, value in groups]


def _wheel(wheel: dict[str, str]) -> dict[str, str]:
    return {"path": f"{WHEELS}/{wheel['file']}", "sha256": wheel["sha256"]}
