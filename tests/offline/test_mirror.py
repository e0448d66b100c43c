"""scripts/mirror: exactly what the lock needs, verified, resumed, indexed, incremental, pruned."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import rattler
import yaml
from click.testing import CliRunner

from install import dummies
from install.conftest import Server
from install.test_lock import lock
from maintain.install import fetch
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib.files import sha256_file
from maintain.mirror.__main__ import cli
from offline.conftest import KILLS, PLATFORM, index_other
from offline.test_pack import tools


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """An ordinary channel of three packages, locked as conda-forge's."""
    folder = dummies.stand_in(tmp_path / "channel")
    (folder / "stand-in.json").unlink()
    lock(folder, tmp_path / "pixi.lock")
    return folder


def mirror(target: Path, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run the command on the lock beside the mirror; returns its JSON."""
    command = [target, "--lock", target.parent / "pixi.lock", "--json", *arguments]
    done = CliRunner().invoke(cli, [str(part) for part in command])
    assert done.exit_code == code, (done.output, done.exception)
    return dict(json.loads(done.stdout))


def archives(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.conda"))


def check(home: Path, source: Path) -> None:
    """The mirror is the source's packages, and its repodata their records."""
    assert archives(home) == archives(source)
    for name in archives(home):
        assert sha256_file(home / name) == sha256_file(source / name)
    for repodata in home.glob("*/repodata.json"):
        listed = json.loads(repodata.read_text())["packages.conda"]
        assert {f"{repodata.parent.name}/{fn}": one["sha256"] for fn, one in listed.items()} == {
            name: sha256_file(home / name) for name in archives(home) if name.startswith(repodata.parent.name)
        }
    assert not list(home.rglob("*.part"))


def test_first_and_second_run(server: Server, tmp_path: Path) -> None:
    result = mirror(tmp_path / "mirror", "--source", server.url)
    home = tmp_path / "mirror/conda-forge"
    assert result["channels"] == {"https://conda.anaconda.org/conda-forge": str(home)} and result["fetched"] == 3
    check(home, server.root)
    asked = len(server.requests)
    (home / "noarch/data-1.0-0.conda").write_bytes(b"rotten")
    assert mirror(tmp_path / "mirror", "--source", server.url)["fetched"] == 0
    assert [name for name, _ in server.requests[asked:]] == ["data-1.0-0.conda"], "all is verified, only that was wrong"
    check(home, server.root)


def test_from_a_folder_and_installed_from(channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(mirror(tmp_path / "mirror", "--source", channel)["channels"].popitem()[1])
    check(home, channel)
    solved = asyncio.run(
        rattler.solve([rattler.Channel(home.as_uri())], ["prefect-env"], platforms=[rattler.Subdir(PLATFORM), "noarch"])
    )
    assert {record.name.normalized for record in solved} == {"prefect-env", "data", "tool"}
    monkeypatch.setattr("maintain.install.plan.LOCK", tmp_path / "pixi.lock")
    assert install(tmp_path / "env", choose(str(home))).packages == 3


def test_from_a_channel_that_asks_who_it_is(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials from where pixi keeps them; in no output and no file of the mirror."""
    server.asks = "Bearer secret-token"
    said = mirror(tmp_path / "mirror", "--source", server.url, code=3)
    assert said["error"] == "network" and "401" in said["why"]
    (tmp_path / "credentials.json").write_text('{"127.0.0.1": {"BearerToken": "secret-token"}}')
    monkeypatch.setenv("RATTLER_AUTH_FILE", str(tmp_path / "credentials.json"))
    assert "secret" not in json.dumps(mirror(tmp_path / "mirror", "--source", server.url))
    check(tmp_path / "mirror/conda-forge", server.root)


def test_how_to_use_it_is_printed(channel: Path, tmp_path: Path) -> None:
    """What is shown for each tool, as far as these files can be read here."""
    command = [tmp_path / "mirror", "--lock", tmp_path / "pixi.lock", "--source", channel]
    said = CliRunner().invoke(cli, [str(part) for part in command]).stdout
    pixi, conda, mamba = (
        "\n".join(
            line[31:] for line in said.splitlines() if re.match(rf"{tool} |  .*=" if tool == "pixi" else tool, line)
        )
        for tool in ("pixi", "conda", "mamba")
    )
    local = (tmp_path / "mirror/conda-forge").as_uri()
    assert tomllib.loads(pixi) == {"mirrors": {"https://conda.anaconda.org/conda-forge": [local]}}
    assert yaml.safe_load(conda) == {"channels": [local]}
    assert yaml.safe_load(mamba) == {"mirrored_channels": {"conda-forge": [local]}}


def test_wrong_bytes_are_refused_and_named(server: Server, tmp_path: Path) -> None:
    server.faults["data-1.0-0.conda"] = ["wrong"] * 9
    said = mirror(tmp_path / "mirror", "--source", server.url, code=4)
    assert said["error"] == "hash-mismatch" and "data-1.0-0.conda" in said["what"] + said["where"]
    home = tmp_path / "mirror/conda-forge"
    assert not list(home.rglob("data-1.0-0*")), "and kept out"
    server.faults.clear()
    mirror(tmp_path / "mirror", "--source", server.url)
    check(home, server.root)


def test_a_broken_download_goes_on(server: Server, tmp_path: Path) -> None:
    server.faults["data-1.0-0.conda"] = ["cut", "503"]
    mirror(tmp_path / "mirror", "--source", server.url)
    ranges = [wanted for name, wanted in server.requests if name == "data-1.0-0.conda"]
    assert ranges[0] is None and ranges[-1] and ranges[-1] != "bytes=0-"
    check(tmp_path / "mirror/conda-forge", server.root)


def test_prune(channel: Path, tmp_path: Path) -> None:
    target, home = tmp_path / "mirror", tmp_path / "mirror/conda-forge"
    mirror(target, "--source", channel)
    (channel / "noarch/data-1.0-0.conda").unlink()
    dummies.update(channel)
    lock(channel, tmp_path / "pixi.lock")
    assert mirror(target, "--source", channel)["removed"] == []
    assert {"noarch/data-1.0-0.conda", "noarch/data-2.0-0.conda"} <= set(archives(home))
    listed = json.loads((home / "noarch/repodata.json").read_text())["packages.conda"]
    assert {"data-1.0-0.conda", "data-2.0-0.conda"} <= set(listed), "both locks can be served"
    (home / "noarch/other-1.0-0.conda.part").write_bytes(b"left by a killed run")
    result = mirror(target, "--source", channel, "--prune")
    assert result["removed"] == ["noarch/data-1.0-0.conda", "noarch/other-1.0-0.conda.part"]
    check(home, channel)


def test_what_is_asked_for(channel: Path, tmp_path: Path) -> None:
    assert mirror(tmp_path / "mirror", "--source", channel, "--platform", "plan-9", code=2)["error"] == "bad-usage"
    assert mirror(tmp_path / "mirror", "--source", channel, "--env", "worker", code=2)["error"] == "bad-usage"
    assert mirror(tmp_path / "mirror", "--source", channel, "--rate", "fast", code=2)["error"] == "bad-usage"
    assert mirror(tmp_path / "mirror", "--source", tmp_path / "nowhere", code=2)["error"] == "bad-file"
    other = "osx-arm64"
    dummies.package(channel, "native", files={"lib/native": b""}, subdir=other)
    index_other(channel / other)
    lock(channel, tmp_path / "pixi.lock", other)
    result = mirror(tmp_path / "mirror", "--source", channel, "--platform", other)
    assert f"{other}/native-1.0-0.conda" in archives(Path(result["channels"].popitem()[1]))


def test_the_rate(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    pace = fetch._Pace(500.0)
    for size in (1000, 500, 250):
        pace.take(size)
    assert slept == [2.0, 3.0, 3.5], "each waits for all before it"
    mirror(tmp_path / "mirror", "--source", server.url, "--rate", "1K")
    assert max(slept[3:]) == pytest.approx(sum(path.stat().st_size for path in server.root.rglob("*.conda")) / 1000)


@pytest.mark.slow
def test_killed_at_any_moment(server: Server, tmp_path: Path) -> None:
    """A file under its own name is whole, the repodata lists no file that is not there, the next run ends."""
    for number in range(20):
        files = {f"share/{number}": random.Random(number).randbytes(200_000)}  # noqa: S311 - seeded on purpose
        dummies.package(server.root, f"blob{number}", files=files)
    dummies.index(server.root)
    lock(server.root, tmp_path / "pixi.lock")
    target, home = tmp_path / "mirror", tmp_path / "mirror/conda-forge"
    command = [
        sys.executable,
        "-m",
        "maintain.mirror",
        target,
        "--lock",
        tmp_path / "pixi.lock",
        "--source",
        server.url,
    ]
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import maintain.mirror.__main__"], env=tools(), check=True)
    imports = time.monotonic() - start
    moment = random.Random(6)  # noqa: S311
    half = 0
    for _ in range(KILLS):
        process = subprocess.Popen([str(part) for part in command], env=tools(), stdout=subprocess.DEVNULL)
        time.sleep(imports * moment.uniform(0.9, 1.4))
        process.kill()
        if process.wait() == 0:
            imports *= 0.9  # a busy moment when it was measured
        else:
            half += 1
        for name in archives(home):
            assert sha256_file(home / name) == sha256_file(server.root / name)
        for repodata in home.glob("*/repodata.json"):
            for fn in json.loads(repodata.read_text())["packages.conda"]:
                assert (repodata.parent / fn).is_file()
        for path in archives(home)[:: moment.randint(1, 4)]:  # so that the next run has something to do
            (home / path).unlink()
            (home / path).parent.joinpath("repodata.json").unlink(missing_ok=True)
    assert half >= KILLS // 5, "nearly every run ended before it was killed: this proved nothing"
    mirror(target, "--source", server.url)
    check(home, server.root)
