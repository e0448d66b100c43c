"""Recorded hosts and what the doctor says of them.

A new host: put the folder ``host`` of a support bundle into ``data/NAME``; with ``scripts/runtime`` and ``tests`` on
PYTHONPATH, ``python -m hosts.test_hosts NAME`` prints what the doctor says. Once it is right, it is ``expected.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prefect_env.doctor.command import as_data
from prefect_env.doctor.context import Context
from prefect_env.doctor.host import record, replay
from prefect_env.doctor.registry import checks
from prefect_env.doctor.run import run

DATA = Path(__file__).parent / "data"
HOSTS = sorted(path.name for path in DATA.iterdir())


def report(name: str) -> dict[str, list[str]]:
    """Status, evidence, cause and fix of each check that applies to the recorded host."""
    found = as_data(run(checks().values(), Context(replay(DATA / name))))
    parts = ("status", "evidence", "cause", "fix")
    return {check["id"]: [check[part] for part in parts if check[part]] for check in found if check["status"] != "skip"}


def test_every_kind_of_host_is_there() -> None:
    assert {"rhel7", "rhel8", "rhel9", "ubuntu", "macos", "windows"} <= set(HOSTS)


@pytest.mark.parametrize("name", HOSTS)
def test_the_report_is_as_expected(name: str) -> None:
    assert report(name) == json.loads((DATA / name / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", HOSTS)
def test_a_recorded_host_can_be_recorded_again(name: str, tmp_path: Path) -> None:
    host = replay(DATA / name)
    for file, text in record(host).items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert replay(tmp_path) == host


if __name__ == "__main__":
    rows = [f"  {json.dumps(check)}: {json.dumps(found)}" for check, found in report(sys.argv[1]).items()]
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")
