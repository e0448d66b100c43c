"""A server that is up and dead, as the doctor tells it; a few lines stand in for httpx, which our tools have not."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from doctor.conftest import Subject
from prefect_env.doctor.checks import network
from prefect_env.doctor.context import Options
from prefect_env.doctor.registry import Result, Status
from support import fake_server


class Client:
    """As much of ``httpx.Client`` as the check uses."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def post(self, url: str, json: object) -> Any:
        return self.get(url, json)

    def get(self, url: str, body: object | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return SimpleNamespace(
            status_code=status, headers={}, extensions={}, read=lambda: text, json=lambda: json.loads(text)
        )

    @contextmanager
    def stream(self, _method: str, url: str) -> Iterator[Any]:
        yield self.get(url)


@pytest.fixture
def found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The checks of the API against a server of a mode."""
    monkeypatch.setattr(network, "session", lambda _: Client())
    monkeypatch.setattr(network, "SETTLE", 0.6)
    monkeypatch.setattr(network, "_client", lambda *_: pytest.fail("nobody asks a dead server more"))
    subject.options = Options()

    def ask(mode: str) -> dict[str, Result]:
        with fake_server.serving(mode) as url:
            subject.env(PREFECT_API_URL=url)
            context = subject.context()
            checks = (network.api, network.websocket, network.task_runs)
            return {check.__name__: check(context) for check in (checks if mode != "sound" else checks[:1])}

    return ask


def test_a_sound_server(found: Any) -> None:
    assert found("sound")["api"].status is Status.OK


def test_a_dead_server_is_told_with_cause_and_cure(found: Any) -> None:
    results = found("dead")
    api = results["api"]
    assert api.status is Status.FAIL
    assert api.evidence.endswith("is up, but dead: /health 200, /ready 500, /admin/version 500, /flows/filter 500")
    assert "a package of its environment does not fit" in api.cause
    assert "--only prefect-release" in api.fix
    assert {results[name].status for name in ("websocket", "task_runs")} == {Status.SKIP}


def test_the_package_to_blame_is_named_where_the_server_is_of_this_prefix(found: Any, subject: Subject) -> None:
    subject.change(packages={"prefect": "2.13.3"})
    api = found("dead")["api"]
    assert api.cause.startswith("Prefect 2.13.3: its last database revision")
    assert api.fix == "prefect-env upgrade plan"


def test_a_database_that_is_not_reached_is_no_package(found: Any) -> None:
    assert "does not reach its database" in found("no-database")["api"].cause


def test_a_login_that_is_missing_is_no_death(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_client", lambda *_: {"error": "HTTP 401"})
    assert "key or login" in found("locked")["api"].cause
