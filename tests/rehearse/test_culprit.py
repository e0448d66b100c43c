"""The bisection alone: on sets that only exist on paper."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintain import bounds
from maintain.rehearse import hunt
from maintain.rehearse.culprit import Culprit, find, mended

NAMES = [f"p{number}" for number in range(12)]


def free(_name: str, _version: str) -> list[str]:
    return []


def blamed_when(*names: str) -> Callable[[dict[str, str]], bool]:
    """A set is dead if all of ``names`` are new in it."""
    return lambda versions: all(versions.get(name) == "2" for name in names)


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.data())
def test_one_to_blame_is_found_whatever_moved(moved: set[str], data: st.DataObject) -> None:
    guilty = data.draw(st.sampled_from(sorted(moved)))
    good = dict.fromkeys(NAMES, "1")
    found = find(good, {**good, **dict.fromkeys(moved, "2")}, blamed_when(guilty), free)
    assert found.moved == {guilty: ("1", "2")} and found.sure
    assert found.tries <= 2 * len(moved).bit_length(), "it halves"


@given(st.sets(st.sampled_from(NAMES), min_size=2, max_size=3), st.sets(st.sampled_from(NAMES)))
def test_several_that_are_dead_only_together_are_all_named(guilty: set[str], more: set[str]) -> None:
    good = dict.fromkeys(NAMES, "1")
    found = find(good, {**good, **dict.fromkeys(guilty | more, "2")}, blamed_when(*guilty), free)
    assert set(found.moved) == guilty and not found.sure


def test_what_came_and_what_went_can_be_to_blame() -> None:
    good = {"a": "1", "gone": "1", "b": "1"}
    bad = {"a": "2", "new": "1", "b": "2"}
    assert find(good, bad, lambda versions: "new" in versions, free).moved == {"new": (None, "1")}
    assert find(good, bad, lambda versions: "gone" not in versions, free).moved == {"gone": ("1", None)}


def test_what_pins_another_exactly_moves_with_it_and_is_the_one_that_is_named() -> None:
    good = {"pydantic": "1", "core": "1", "other": "1"}
    bad = {"pydantic": "2", "core": "2", "other": "2"}

    def requires(name: str, version: str) -> list[str]:
        return [f"core=={version}"] if name == "pydantic" else []

    seen = []

    def dead(versions: dict[str, str]) -> bool:
        seen.append(versions)
        return versions["pydantic"] == "2"

    assert find(good, bad, dead, requires).moved == {"pydantic": ("1", "2")}
    assert all(versions["pydantic"] == versions["core"] for versions in seen), "no torn mixture was tried"


def test_a_mixture_that_its_own_metadata_refuses_is_mended() -> None:
    good, bad = {"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "2", "c": "2", "d": "1"}

    def requires(name: str, version: str) -> list[str]:
        return {("a", "2"): ["b>=2", "d"], ("c", "1"): ["b<2"]}.get((name, version), [])

    assert mended(good, bad, frozenset({"a"}), requires) == bad, "b and d for a's sake, c for b's"
    assert mended(good, bad, frozenset({"c"}), requires) == {**good, "c": "2"}


@pytest.mark.parametrize("seen", ['RuntimeError: it "died"\n', "", "one\ntwo \\ three"])
def test_the_bound_to_add_is_one_that_the_house_reads(seen: str, tmp_path: Path) -> None:
    blamed = Culprit({"fastapi": ("0.136.3", "0.141.1"), "gone": ("1", None)}, 3)
    assert hunt.told(blamed) == "fastapi 0.136.3 -> 0.141.1, gone 1 -> absent"
    text = hunt.bound(blamed, "3.6.24", seen)
    (entry,) = tomllib.loads(text)["bound"]
    assert (entry["prefect"], entry["spec"], entry["dead"]) == (">=3.6,<3.7", "fastapi<0.141.1", ["0.141.1"])
    assert entry["reason"] and entry["source"]
    native = hunt.bound(Culprit({"openssl": ("3.5.0", "3.6.0")}, 1), "3.6.24", seen, {"openssl"})
    (tmp_path / bounds.FILE).write_text(f"{text}\n{native}\n", encoding="utf-8")
    assert [one.conda for one in bounds.load(tmp_path)] == ["fastapi <0.141.1", "openssl <3.6.0"]
