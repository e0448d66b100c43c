"""Nothing unverified gets in: archives, indexes and caches that are unsigned, wrong, damaged or away."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from channel.test_package import wheel
from maintain.channel import __main__ as command
from maintain.channel import pin, wheels
from maintain.channel.debian import Archive, require_host, unpack
from maintain.channel.release import BOOKWORM, RELEASES, TRIXIE, Release
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import cache_dir
from maintain.manifest import load

SIX = wheels.Pin("six", "1.17.0", ("4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",))


@pytest.fixture
def debian() -> None:
    try:
        require_host()
    except ToolError as error:
        pytest.skip(f"{error.what}: {error.why}")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: None) -> Callable[..., Archive]:
    """Make an archive with one package, of which apt is told through APT_CONFIG; unsigned."""

    def make(option: str, wrong: bool = False) -> Archive:
        root = tmp_path / "repository"
        control = root / "tiny" / "DEBIAN" / "control"
        control.parent.mkdir(parents=True)
        control.write_text("Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n")
        subprocess.run(["dpkg-deb", "--build", str(root / "tiny"), str(root)], check=True, capture_output=True)
        file = root / "tiny_1.0_all.deb"
        digest = hashlib.sha256(b"other" if wrong else file.read_bytes()).hexdigest()
        index = f"{control.read_text()}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
        (root / "Packages").write_text(index)
        (tmp_path / "sources.list").write_text(f"deb [{option}] file:{root} ./\n")
        (tmp_path / "lists").mkdir()
        (tmp_path / "apt.conf").write_text(
            f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
            f'Dir::State::lists "{tmp_path}/lists";\nAPT::Get::AllowUnauthenticated "true";\n'
        )
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
        return Archive(tmp_path / "cache")

    return make


@pytest.mark.parametrize("option", ["allow-insecure=yes", "allow-weak=yes"])
def test_an_unsigned_archive_is_refused(repository: Callable[..., Archive], option: str) -> None:
    """Also where the machine's own settings would accept it."""
    with pytest.raises(ToolError) as caught:
        repository(option).fetch(["tiny"])
    assert (caught.value.id, caught.value.exit_code) == ("signature", Exit.VERIFICATION)


def test_an_archive_that_the_administrator_trusts_is_used(repository: Callable[..., Archive]) -> None:
    (deb,) = repository("trusted=yes").fetch(["tiny"])
    assert hashlib.sha256(deb.path.read_bytes()).hexdigest() == deb.sha256


@pytest.mark.parametrize(("option", "refused"), [("allow-insecure=yes", True), ("trusted=yes", False)])
def test_another_release_s_archive_is_held_to_the_same(
    repository: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, refused: bool
) -> None:
    """Its index is fetched apart, from the machine's sources with the suite exchanged."""
    monkeypatch.setattr("maintain.channel.debian.of_host", lambda: BOOKWORM)
    repository(option)
    root = tmp_path / "repository"
    listed = root / "dists" / TRIXIE.name / "main" / "binary-amd64" / "Packages"
    listed.parent.mkdir(parents=True)
    shutil.copy(root / "Packages", listed)
    (tmp_path / "sources.list").write_text(f"deb [arch=amd64 {option}] file:{root} {BOOKWORM.name} main\n")
    archive = Archive(tmp_path / "cache", TRIXIE)
    if refused:
        with pytest.raises(ToolError) as caught:
            archive.fetch(["tiny"])
        assert (caught.value.id, caught.value.exit_code) == ("signature", Exit.VERIFICATION)
    else:
        (deb,) = archive.fetch(["tiny"])
        assert deb.path.is_file()
    assert not list((tmp_path / "lists").glob("*")), "the machine's own state is left alone"


def test_a_package_that_differs_from_its_index_is_refused(repository: Callable[..., Archive], tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        repository("trusted=yes", wrong=True).fetch(["tiny"])
    assert (caught.value.id, caught.value.exit_code) == ("hash-mismatch", Exit.VERIFICATION)
    assert not list(tmp_path.glob("cache/debs/*.deb"))


def test_a_truncated_package_in_the_cache_is_fetched_again(repository: Callable[..., Archive]) -> None:
    archive = repository("trusted=yes")
    (deb,) = archive.fetch(["tiny"])
    whole = deb.path.read_bytes()
    deb.path.write_bytes(whole[:300])
    with pytest.raises(ToolError) as caught:
        unpack(deb.path)
    assert (caught.value.id, caught.value.where) == ("bad-file", str(deb.path))
    assert archive.fetch(["tiny"])[0].path.read_bytes() == whole


def test_an_archive_without_the_packages_cannot_serve(repository: Callable[..., Archive]) -> None:
    with pytest.raises(ToolError) as caught:
        repository("trusted=yes").fetch(["python3.11-minimal"])
    assert (caught.value.id, caught.value.exit_code) == ("unsupported-host", Exit.HOST)
    assert "conda-forge" in (caught.value.fix or "")


def test_an_archive_that_is_away_is_a_network_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: None
) -> None:
    (tmp_path / "sources.list").write_text("deb http://127.0.0.1:9/nowhere stable main\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::lists "{tmp_path}/lists";\nAcquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(ToolError) as caught:
        Archive(tmp_path / "cache").fetch(["tiny"])
    assert (caught.value.id, caught.value.exit_code) == ("network", Exit.NETWORK)


def test_another_kind_of_host_is_refused_with_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(ToolError) as caught:
        require_host()
    assert (caught.value.id, caught.value.exit_code) == ("unsupported-host", Exit.HOST)
    assert "conda-forge" in (caught.value.fix or "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels as the only index, and an empty cache."""
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def served(index: Path) -> wheels.Pin:
    """Put a tiny wheel into ``index``; its pin."""
    return wheel(index, "tiny", "py3-none-any", {"tiny.py": "x = 1\n" * 300}).pin


def test_a_wheel_is_fetched_by_its_hash(index: Path) -> None:
    wanted = served(index)
    found = wheels.fetch([wanted])[wanted]
    assert found.path.is_relative_to(cache_dir())
    shutil.rmtree(index)
    assert wheels.fetch([wanted])[wanted].path == found.path, "the second time from the cache"


def test_more_versions_of_a_project_than_pips_run_at_once(index: Path) -> None:
    """Every line may pin another version; one pip refuses two of them as a conflict."""
    wanted = [
        wheel(index, "tiny", "py3-none-any", {"tiny.py": f"x = {number}\n"}, version=f"{number}.0").pin
        for number in range(wheels.SHARDS + 2)
    ]
    assert set(wheels.fetch(wanted)) == set(wanted)


def test_a_wheel_with_another_hash_is_refused(index: Path) -> None:
    wanted = served(index)._replace(hashes=("0" * 64,))
    with pytest.raises(ToolError) as caught:
        wheels.fetch([wanted])
    assert (caught.value.id, caught.value.exit_code) == ("hash-mismatch", Exit.VERIFICATION)
    assert not list(cache_dir().rglob("*.whl"))


def test_a_truncated_wheel_on_the_index_is_refused(index: Path) -> None:
    wanted = served(index)
    (path,) = index.glob("*.whl")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ToolError) as caught:
        wheels.fetch([wanted])
    assert caught.value.exit_code == Exit.VERIFICATION


def test_a_truncated_wheel_in_the_cache_is_fetched_again(index: Path) -> None:
    wanted = served(index)
    path = wheels.fetch([wanted])[wanted].path
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    assert wheels.fetch([wanted])[wanted].path.read_bytes() == whole


def test_a_pin_holds_the_hash_of_its_wheel(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = served(index)
    asked: list[list[str]] = []

    def resolve(wanted: list[str], release: Release) -> dict[str, str]:
        asked.append(wanted)
        return {"tiny": "1.0"}

    monkeypatch.setattr(pin, "resolve", resolve)
    monkeypatch.setattr(pin, "RECIPES", tmp_path)
    prefect = load().lines["3"].prefect
    bound = f'prefect = "=={prefect}"\nspec = "tiny<2"\nreason = "x"\nsource = "x"\n'
    (tmp_path / "bounds.toml").write_text(f"[[bound]]\n{bound}")
    written = pin.pin("3").read_text()
    wanted = [f"prefect=={prefect}", "tiny<2", *pin.RUNTIME, "pip"]
    assert asked == [wanted, [*wanted, "tiny==1.0"]], "the other Python gets the same versions"
    assert wheels.parse(written, "3.txt") == [expected]
    assert "://" not in written


@pytest.fixture
def compiled(index: Path) -> dict[Release, str]:
    """A wheel of ``fast`` for each release's Python on the index, by its hash."""
    return {
        release: wheel(index, "fast", f"{release.tag}-{release.tag}-manylinux_2_17_x86_64", {"x": release.name}).sha256
        for release in RELEASES.values()
    }


def test_a_pin_holds_a_wheel_for_each_python_and_each_gets_its_own(
    compiled: dict[Release, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pin, "resolve", lambda wanted, release: {"fast": "1.0"})
    monkeypatch.setattr(pin, "RECIPES", tmp_path)
    (tmp_path / "bounds.toml").touch()
    (pinned,) = wheels.parse(pin.pin("3").read_text(), "3.txt")
    assert pinned.hashes == tuple(compiled.values())
    for _ in ("from the index", "from the cache"):
        for release, sha256 in compiled.items():
            assert wheels.fetch([pinned], release)[pinned].sha256 == sha256


def test_a_line_without_all_wheels_for_a_python_is_not_pinned_for_it(
    index: Path, compiled: dict[Release, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = f"{BOOKWORM.tag}-{BOOKWORM.tag}-manylinux_2_17_x86_64"
    old = wheel(index, "old", tag, {})
    monkeypatch.setattr(pin, "resolve", lambda wanted, release: {"fast": "1.0", "old": "1.0"})
    monkeypatch.setattr(pin, "RECIPES", tmp_path)
    (tmp_path / "bounds.toml").touch()
    pins = wheels.parse(pin.pin("3").read_text(), "3.txt")
    assert [one.hashes for one in pins] == [(compiled[BOOKWORM],), (old.sha256,)]
    with pytest.raises(ToolError) as caught:
        wheels.fetch(pins[:1], TRIXIE)
    assert (caught.value.id, caught.value.exit_code) == ("hash-mismatch", Exit.VERIFICATION)
    assert str(TRIXIE) in caught.value.what
    assert "scripts/channel pin" in (caught.value.fix or "")


def test_the_wheels_of_another_python_are_added_to_the_versions_that_are_pinned(
    index: Path, compiled: dict[Release, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the index has by now: no version moves, no hash is lost, and what serves both Pythons stays as it is."""
    for module in (pin, wheels):
        monkeypatch.setattr(module, "RECIPES", tmp_path)
    monkeypatch.setattr(pin, "resolve", lambda *_, **__: pytest.fail("it resolved"))
    both = wheel(index, "both", f"{BOOKWORM.tag}-abi3-manylinux_2_17_x86_64", {})
    old = [wheels.Pin("both", "1.0", (both.sha256,)), wheels.Pin("fast", "1.0", (compiled[BOOKWORM],)), served(index)]
    wheel(index, "fast", f"{TRIXIE.tag}-{TRIXIE.tag}-manylinux_2_17_x86_64", {}, version="2.0")
    wheel(index, "both", f"{TRIXIE.tag}-{TRIXIE.tag}-manylinux_2_17_x86_64", {})
    path = tmp_path / "lines" / "3.txt"
    path.parent.mkdir()
    path.write_text("".join(map(wheels.requirement, old)))
    assert CliRunner().invoke(command.cli, ["pin", "--hashes", "3"]).exit_code == 0
    written = wheels.parse(path.read_text(), "3.txt")
    assert written == [old[0], old[1]._replace(hashes=tuple(compiled.values())), old[2]]
    text = path.read_text()
    assert f"for Python {BOOKWORM.python} and one for {TRIXIE.python}" in text
    pin.pin_wheels("3")
    assert path.read_text() == text, "the second time nothing is to be added"


def test_a_pinned_wheel_that_the_index_has_no_longer_is_not_replaced(
    compiled: dict[Release, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pin, wheels):
        monkeypatch.setattr(module, "RECIPES", tmp_path)
    path = tmp_path / "lines" / "3.txt"
    path.parent.mkdir()
    before = wheels.requirement(wheels.Pin("fast", "1.0", ("0" * 64,)))
    path.write_text(before)
    with pytest.raises(ToolError) as caught:
        pin.pin_wheels("3")
    assert (caught.value.id, path.read_text()) == ("hash-mismatch", before)
    assert compiled


def test_pinning_without_a_resolver_says_which_program_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolError) as caught:
        pin.pin("3")
    assert (caught.value.id, caught.value.exit_code) == ("missing-program", Exit.HOST)


def test_an_index_that_is_away_is_a_network_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ToolError) as caught:
        wheels.fetch([SIX])
    assert (caught.value.id, caught.value.exit_code) == ("network", Exit.NETWORK)
    assert caught.value.fix
