"""Each planted dead pair is found by the rehearsal, and the one to blame named among what moved with it."""

from __future__ import annotations

from typing import Any

import pytest

from maintain.channel.release import of_host
from maintain.rehearse import hunt
from rehearse import sets

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.usefixtures("host")]


def label(pair: dict[str, Any]) -> str:
    return f"{pair['blame']}-{pair['moved'][pair['blame']]}-with-{pair['base']}"


@pytest.mark.parametrize("pair", sets.pairs(), ids=label)
def test_found_and_named(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunt, "HOME", hunt.HOME.with_name(f"hunt-{pair['base']}"))  # other tests run beside this one
    book = sets.book()
    good = sets.versions(pair["base"])
    bad = {**good, **pair["moved"]}
    beside = tuple(pin for (name, _), pin in book.pins.items() if name in pair.get("beside", ()))
    case = hunt.Case(pair["step"], pair.get("database", "sqlite"), of_host(), beside)
    found = hunt.culprit_of(good, bad, case, book, proven=True)
    assert found is not None, "the rehearsal took it for one that runs"
    assert found.sure
    assert found.moved == {pair["blame"]: (good.get(pair["blame"]), pair["moved"][pair["blame"]])}
