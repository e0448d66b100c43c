"""What ``scripts/bench demo`` measures: cold with the downloads and nothing else, warm where cold was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from maintain.bench import demo
from maintain.lib import server as servers
from maintain.lib.errors import ToolError
from maintain.lib.paths import cache_dir


def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, flow: int = 0) -> list[tuple[str, list[str]]]:
    """Run the suite with nothing behind its steps; what each of our commands was, and what its cache held before."""
    seen: list[tuple[str, list[str]]] = []

    def ours(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        cache = Path(env["PREFECT_ENV_CACHE"]) if env else cache_dir()
        seen.append((f"{module} {cache.parent}", sorted(path.name for path in cache.glob("*/*"))))
        (cache / "stand-in" / "packages").mkdir(exist_ok=True)
        return ""

    @contextmanager
    def running(*_: Path) -> Iterator[SimpleNamespace]:
        done = SimpleNamespace(returncode=flow, stderr="Crashed")
        yield SimpleNamespace(run_flow=lambda: done, wait_for_task_runs=lambda number: number)

    def once(mine: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> tuple[float, float]:
        assert rounds == demo.ROUNDS
        mine()
        theirs()
        return 2.0, 1.0

    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "stand-in" / "wheels").mkdir(parents=True)
    monkeypatch.setattr(demo, "scratch", lambda: tmp_path)
    monkeypatch.setattr(demo, "ours", ours)
    monkeypatch.setattr(demo, "uv_venv", lambda venv, *_: venv)
    monkeypatch.setattr(demo, "alternate", once)
    monkeypatch.setattr(servers, "running", running)
    assert [row.ratio for row in demo.rows()] == [2.0, 2.0]
    return seen


def test_cold_has_the_downloads_only_and_warm_is_where_cold_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (_, (build, cold), (flow, _), (again, warm), last) = measured(monkeypatch, tmp_path)
    assert cold == ["wheels"]
    assert warm == ["packages", "wheels"]
    assert (build, flow) == (again, last[0]), "the same commands in the same folder"
    assert str(tmp_path / "cache") not in build


def test_a_peer_whose_flow_fails_is_no_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="flow failed"):
        measured(monkeypatch, tmp_path, flow=1)
