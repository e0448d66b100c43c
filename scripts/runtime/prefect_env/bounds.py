"""Which versions of other packages a Prefect must not meet: pairs that were seen dead, from ``data/bounds.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from prefect_env.versions import Version, within


@dataclass(frozen=True)
class Bound:
    """An entry of the file, which ``scripts/recipe render`` writes from the clone's ``recipe/bounds.toml``."""

    prefect: str
    """The Prefect releases it is for, as specifiers."""
    name: str
    """The Python package."""
    specifier: str
    conda: str
    """The same as conda's match spec."""
    reason: str
    source: str


@cache
def bounds() -> tuple[Bound, ...]:
    """All of them."""
    text = resources.files("prefect_env").joinpath("data/bounds.json").read_text(encoding="utf-8")
    return tuple(Bound(**entry) for entry in json.loads(text))


def violated(prefect: Version, packages: dict[str, Version]) -> list[Bound]:
    """The bounds of this Prefect that an installed package of ``packages`` does not keep."""
    return [
        bound
        for bound in bounds()
        if bound.name in packages
        and within(prefect, bound.prefect)
        and not within(packages[bound.name], bound.specifier)
    ]
