"""``scripts/demo`` beside its steps by hand: a virtual environment of the same pins by uv, a server, the same flow.

Downloads are not measured: Debian's packages and the wheels are in the cache, uv has the same wheels in its own. Cold
has nothing else, so it converts all packages, indexes them, installs and compiles; warm finds channel and prefix as
cold left them. It is the stand-in that is measured, whether or not conda-forge answers. uv need convert nothing and
takes the machine's Python, SQLite and OpenSSL, where the stand-in has its own, so cold cannot be level with it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from maintain.bench.peer import ours, scratch, uv_venv
from maintain.channel import sets
from maintain.channel.wheels import requirement
from maintain.lib import server as servers
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lib.measure import Row, alternate, fresh
from maintain.lib.paths import cache_dir

ENVIRONMENT = "default"
"""What the demo installs."""

DOWNLOADS = ("wheels", "debs", "apt")
"""Folders of the cache that hold downloads."""

ROUNDS = 2


def rows() -> list[Row]:
    """Seconds of the whole demo, cold and warm."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-bench-", dir=scratch(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        pins = folder / "pins.txt"
        pins.write_text("".join(map(requirement, sets.of_environment(ENVIRONMENT).pins)), encoding="utf-8")
        say("downloading what is missing ...")
        ours("maintain.channel", "build", "--quiet", "--env", ENVIRONMENT)
        uv_venv(fresh(folder), pins)
        say("running both in turn, cold and warm ...")
        made: list[Path] = []
        venvs: list[Path] = []

        def cold() -> None:
            made.append(fresh(folder))
            (made[-1] / "cache" / "stand-in").mkdir(parents=True)
            for part in DOWNLOADS:
                if (there := cache_dir() / "stand-in" / part).is_dir():
                    (made[-1] / "cache" / "stand-in" / part).symlink_to(there)
            _demo(made[-1])

        def cold_by_hand() -> None:
            venvs.append(fresh(folder))
            _by_hand(venvs[-1], pins)

        first = alternate(cold, cold_by_hand, rounds=ROUNDS)
        second = alternate(lambda: _demo(made[-1]), lambda: _by_hand(venvs[-1], pins), rounds=ROUNDS)
    return [
        Row("demo, cold but downloaded", first[0], "uv venv && uv pip install, server, flow", first[1], aim=3.0),
        Row("demo, warm", second[0], "uv pip install (nothing to do), server, flow", second[1], aim=1.2),
    ]


def _demo(folder: Path) -> None:
    """The demo with its cache, channel and prefix in ``folder``."""
    env = {"PREFECT_ENV_CACHE": str(folder / "cache")}
    channel = str(folder / "channel")
    ours("maintain.channel", "build", "--quiet", "--env", ENVIRONMENT, "--output", channel, env=env)
    ours("maintain.demo", "--quiet", "--channel", channel, "--prefix", str(folder / "prefix"), env=env)


def _by_hand(venv: Path, pins: Path) -> None:
    """What the demo does after the channel is built, with uv's environment."""
    uv_venv(venv, pins, "--compile-bytecode")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, servers.running(venv, Path(home)) as server:
        done = server.run_flow()
        if done.returncode or server.wait_for_task_runs(servers.TASKS) != servers.TASKS:
            raise ToolError("command-failed", "the flow failed in uv's environment", why=done.stderr.strip()[-800:])
