"""recipe.yaml and its meta.yaml twin mean the same for every variant.

rattler-build itself reads the one; the other is read here in conda-build's order: selectors, Jinja, YAML.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from rattler_build import JinjaConfig, PlatformConfig, RenderConfig, Stage0Recipe, VariantConfig

from maintain.lib.paths import RECIPES
from maintain.recipes.build import NAMES

LINUX = PlatformConfig(target_platform="linux-64")
SELECTOR = re.compile(r"\s+# \[(.+)\]$")
ABOUT = {"home": "homepage", "dev_url": "repository", "doc_url": "documentation"}
Variant = dict[str, str]
Meaning = dict[str, dict[str, Any]]
"""By output: its requirements, sources, build, tests and description, in one form for both formats."""


def combinations(recipe: str) -> list[Variant]:
    config = yaml.safe_load((RECIPES / recipe / "variants.yaml").read_text())
    config.pop("zip_keys", None)
    return [dict(zip(config, values, strict=True)) for values in zip(*config.values(), strict=True)]


CASES = [(recipe, variant) for recipe in NAMES for variant in combinations(recipe)]


def listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def v1(file: Path, variant: Variant) -> Meaning:
    keys = VariantConfig({key: [value] for key, value in variant.items()})
    found: Meaning = {}
    for rendered in Stage0Recipe.from_file(file).render(keys, RenderConfig(LINUX)):
        tree = rendered.recipe.to_dict()
        build, requirements = tree["build"], tree.get("requirements", {})
        python = [test["python"] for test in tree.get("tests", []) if "python" in test]
        scripts = [test for test in tree.get("tests", []) if "script" in test]
        # rattler-build's default; an explicit false would be a difference.
        pip_check = any(test.get("pip_check", True) for test in python)
        for test in scripts:
            assert ("pip" in test.get("requirements", {}).get("run", [])) == ("pip check" in test["script"])
        found[tree["package"]["name"]] = {
            "version": tree["package"]["version"],
            "number": build.get("number", 0),
            "string": None if re.search(r"h[0-9a-f]{7}_", build["string"]) else build["string"],
            "noarch": build.get("noarch"),
            "script": listed(build.get("script")),
            "entry_points": listed(build.get("python", {}).get("entry_points")),
            "sources": [(source["path"], source.get("sha256")) for source in tree.get("source", [])],
            "host": requirements.get("host", []),
            "run": requirements.get("run", []),
            "constraints": requirements.get("run_constraints", []),
            "imports": [name for test in python for name in test["imports"]],
            "commands": [
                *(["pip check"] if pip_check else []),
                *(line for test in scripts for line in listed(test["script"])),
            ],
            "files": [name for test in scripts for name in test.get("files", {}).get("recipe", [])],
            "needs": [
                name for test in scripts for name in test.get("requirements", {}).get("run", []) if name != "pip"
            ],
            "about": {key: str(value).rstrip("/") for key, value in tree["about"].items() if key != "license_file"},
            "license_file": listed(tree["about"].get("license_file")),
        }
    return found


def classic(file: Path, variant: Variant) -> Meaning:
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        selector = SELECTOR.search(line)
        if selector is None or eval(selector[1], {}, dict(variant)):  # noqa: S307 - as conda-build does
            kept.append(SELECTOR.sub("", line))
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 - not HTML
    tree = yaml.safe_load(jinja.from_string("\n".join(kept)).render(variant))
    sources = [(source.get("url") or source["path"], source.get("sha256")) for source in listed(tree.get("source"))]
    outputs = tree.get("outputs") or [{**tree, **tree["package"]}]
    found: Meaning = {}
    for output in outputs:
        build, test = output.get("build", {}), output.get("test") or {}
        requirements = output.get("requirements") or {}
        commands = test.get("commands", [])
        about = {ABOUT.get(key, key): value for key, value in output["about"].items()}
        found[output["name"]] = {
            "version": output["version"],
            "number": build["number"],
            "string": build.get("string"),
            "noarch": build.get("noarch"),
            "script": listed(build.get("script")),
            "entry_points": listed(build.get("entry_points")),
            "sources": sources,
            "host": requirements.get("host") or [],
            "run": requirements.get("run") or [],
            "constraints": requirements.get("run_constrained") or [],
            "imports": test.get("imports", []),
            "commands": commands,
            "files": test.get("files", []),
            "needs": [name for name in test.get("requires", []) if name != "pip"],
            "about": {key: value for key, value in about.items() if key != "license_file"},
            "license_file": listed(about.get("license_file")),
        }
        assert ("pip" in test.get("requires", [])) == ("pip check" in commands)
    return found


@pytest.mark.parametrize(
    ("recipe", "variant"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value.values())
)
def test_both_mean_the_same(recipe: str, variant: Variant) -> None:
    assert v1(RECIPES / recipe / "recipe.yaml", variant) == classic(RECIPES / recipe / "meta.yaml", variant)


@pytest.mark.parametrize("recipe", NAMES)
def test_both_are_built_in_the_same_variants(recipe: str) -> None:
    folder = RECIPES / recipe
    ours = VariantConfig.from_file(folder / "variants.yaml")
    theirs = VariantConfig.from_conda_build_config(folder / "conda_build_config.yaml", JinjaConfig(platform=LINUX))
    assert ours.combinations() == theirs.combinations() != []
    # conda-build turns what looks like a number into one, and a selector would then compare it with a string.
    assert not [value for variant in ours.combinations() for value in variant.values() if str(value).isdigit()]


MUTATIONS = [
    ("prefect", "meta.yaml", r"    - anyio >=4\.4\.0,<5\.0\.0.*\n", "", "run"),
    ("prefect", "meta.yaml", r"fastapi >=0\.139\.0,<0\.151", "fastapi >=0.139.0,<1.0.0", "run"),
    ("prefect", "recipe.yaml", r"fastapi >=0\.139\.0,<0\.151", "fastapi >=0.139.0,<0.152", "run"),
    ("prefect", "meta.yaml", r"pendulum >=3\.1\.0,<4  # \[.*\]", "pendulum >=3.1.0,<4", "run"),
    ("prefect", "meta.yaml", r"sha256: ....", "sha256: 0000", "sources"),
    ("prefect", "meta.yaml", r"prefect = prefect\.cli:app", "prefect = prefect.cli:main", "entry_points"),
    ("prefect", "meta.yaml", r"    - python tests/check_server\.py\n", "", "commands"),
    ("prefect", "meta.yaml", r"    - tests/three_tasks\.py\n", "", "files"),
    ("prefect-graphviz", "meta.yaml", r"python-graphviz <0a0", "python-graphviz <1", "constraints"),
    ("prefect-graphviz", "recipe.yaml", r"1 if graphviz_binding", "2 if graphviz_binding", "number"),
    ("prefect-env", "meta.yaml", r"__glibc >=2\.17", "__glibc >=2.28", "run"),
]


@pytest.mark.parametrize(("recipe", "name", "pattern", "replacement", "key"), MUTATIONS)
def test_a_difference_is_seen(recipe: str, name: str, pattern: str, replacement: str, key: str, tmp_path: Path) -> None:
    for file in ("recipe.yaml", "meta.yaml"):
        (tmp_path / file).write_bytes((RECIPES / recipe / file).read_bytes())
    text, count = re.subn(pattern, replacement, (tmp_path / name).read_text())
    assert count, "the mutation must hit something"
    (tmp_path / name).write_text(text)
    differing = set()
    for variant in combinations(recipe):
        theirs = classic(tmp_path / "meta.yaml", variant)
        for output, meaning in v1(tmp_path / "recipe.yaml", variant).items():
            differing |= {key for key, value in meaning.items() if theirs[output][key] != value}
    assert differing == {key}
