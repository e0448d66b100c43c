"""Write a recipe's tree as YAML: for rattler-build (v1) or for conda-build (classic).

The two differ in how they say that an item is for some variants only (``if:``/``then:`` against a trailing
``# [condition]``) and in how they mark expressions (``${{ }}`` against ``{{ }}``); a :class:`When` and the v1 form
of an expression stand for either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class When:
    """List items that exist only where ``condition``, an expression over variant keys, holds."""

    condition: str
    items: Sequence[Any]


def emit(tree: Mapping[str, Any], *, classic: bool, header: str) -> str:
    """``tree`` as a recipe file that begins with ``header`` as a comment; empty lists and mappings are left out."""
    lines = [f"# {line}" for line in header.splitlines()]
    for key, value in tree.items():
        block = list(_lines({key: value}, "", classic, ""))
        lines += ["", *block] if len(block) > 1 else block
    return "\n".join(lines) + "\n"


def _lines(node: Any, pad: str, classic: bool, selector: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if _is_scalar(value):
                yield f"{pad}{key}: {_scalar(value, classic)}{selector}"
            elif value:
                yield f"{pad}{key}:{selector}"
                yield from _lines(value, pad + "  ", classic, selector)
        return
    for item in node:
        if isinstance(item, When) and classic:
            yield from _lines(item.items, pad, classic, f"  # [{item.condition}]")
        elif isinstance(item, When):
            yield f"{pad}- if: {item.condition}"
            yield f"{pad}  then:"
            yield from _lines(item.items, pad + "    ", classic, selector)
        elif _is_scalar(item):
            yield f"{pad}- {_scalar(item, classic)}{selector}"
        else:
            first, *rest = _lines(item, pad + "  ", classic, selector)
            yield f"{pad}- {first.lstrip()}"
            yield from rest


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | bool)


def _scalar(value: str | int | bool, classic: bool) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if "${{" in value:  # conda-build expands these before it reads the YAML, so they need no quotes there
        return value.replace("${{", "{{") if classic else value
    try:
        plain = yaml.safe_load(f"- {value}") == [value] and " #" not in value
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value, ensure_ascii=False)
