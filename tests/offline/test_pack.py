"""What scripts/pack writes: the same bytes again, volumes, deltas, companions, signatures, other platforms."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
import rattler
import yaml
from click.testing import CliRunner

from install import dummies
from install.test_lock import lock
from maintain.bundle import layout
from maintain.bundle.__main__ import cli
from maintain.bundle.contents import Contents
from maintain.bundle.engine import MODULES
from maintain.bundle.layout import Bundle
from maintain.install.plan import Plan
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK, ROOT
from maintain.lock import lockfile
from maintain.mirror.selection import channel, select
from offline.conftest import PLATFORM, files, index_other, install, pack, plain_env, publish
from support.commands import run
from support.pages import commands


def test_the_same_bytes_again(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another copy of the channel, elsewhere, with other dates, umask and time zone."""
    shutil.copytree(made / "channel", tmp_path / "elsewhere", copy_function=shutil.copyfile)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    mask = os.umask(0o077)
    try:
        pack(tmp_path / "elsewhere", tmp_path / "out", "--format", "tar", "--format", "installer")
    finally:
        os.umask(mask)
    first, second = files(made / "out"), files(tmp_path / "out")
    assert first.pop(".pack.lock") == second.pop(".pack.lock")
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_artefact_set(made: Path, bundle: Path) -> None:
    out, stem = made / "out", bundle.stem
    assert stem == f"prefect-env-default-3.11.0-{PLATFORM}"
    suffixes = {name.removeprefix(stem) for name in files(out) if name != ".pack.lock"}
    assert suffixes == {".sh", ".tar", ".sha256", ".lock", ".packages.txt", ".cdx.json", ".info.json"}
    run(["sha256sum", "--check", "--strict", f"{stem}.sha256"], cwd=out)
    locked = rattler.LockFile.from_path(out / f"{stem}.lock")
    assert len(locked.default_environment().conda_repodata_records_for_platform(locked.platforms()[0])) == 6  # type: ignore[arg-type, union-attr]
    assert {one["name"] for one in json.loads((out / f"{stem}.cdx.json").read_text())["components"]} >= {"app", "zstd"}
    info = json.loads((out / f"{stem}.info.json").read_text())
    assert (info["host"], info["python"], info["prefix_max"]) == (
        {"glibc": "2.17", "linux": "3.10"},
        "3.11",
        len(dummies.PLACEHOLDER),
    )


def test_what_other_tools_read(bundle: Path, tmp_path: Path) -> None:
    """The layout of pixi-pack; the folder is a channel, and its environment can be solved from it alone."""
    run(["tar", "-xf", bundle, "-C", tmp_path])
    assert json.loads((tmp_path / "pixi-pack.json").read_text()) == {"version": "1", "platform": PLATFORM}
    wanted = yaml.safe_load((tmp_path / "environment.yml").read_text())
    assert wanted["channels"] == ["./channel"]
    solved = asyncio.run(
        rattler.solve(
            [rattler.Channel((tmp_path / "channel").as_uri())],
            [" ==".join(text.split("=", 1)).replace("=0", " 0") for text in wanted["dependencies"]],
            platforms=[rattler.Subdir(PLATFORM), "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )
    )
    explicit = (tmp_path / "explicit.txt").read_text().splitlines()
    assert explicit[1] == "@EXPLICIT" and len(explicit) == 2 + len(solved)
    for record in solved:
        line = f"channel/{record.subdir}/{record.file_name}#sha256:{record.sha256.hex()}"  # type: ignore[union-attr]
        assert line in explicit and (tmp_path / line.partition("#")[0]).is_file()


def test_volumes(made: Path, installer: Path, tmp_path: Path) -> None:
    first = pack(made / "channel", tmp_path / "out", "--split", "200K", "--format", "installer", "--format", "tar")
    volumes = sorted((tmp_path / "out").glob("*.sh.*"))
    assert len(volumes) > 2 and {path.stat().st_size for path in volumes[:-1]} == {200_000}
    body = b"".join(path.read_bytes() for path in volumes)[layout.HEAD :]
    assert body == installer.read_bytes()[layout.HEAD :]
    Bundle(first).verify()
    install(first, "--prefix", tmp_path / "env", "--no-doctor")
    assert (tmp_path / "env/conda-meta/prefect-env").is_file()
    volumes[1].unlink()
    said = install(first, "--prefix", tmp_path / "other", code=2).stderr
    assert "a volume is missing" in said and volumes[1].name in said and not (tmp_path / "other").exists()
    with pytest.raises(ToolError, match="damaged"):
        Bundle(first)


def test_volumes_that_are_too_small(made: Path, tmp_path: Path) -> None:
    pack(made / "channel", tmp_path, "--split", "20K", code=2)
    pack(made / "channel", tmp_path, "--split", "20 apples", code=2)


def test_delta(made: Path, bundle: Path, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    shutil.copytree(made / "channel", channel)
    (channel / "noarch/app-1.0-0.conda").unlink()
    publish(channel, "2.0")
    pack(channel, tmp_path / "full", "--format", "tar")
    delta = pack(channel, tmp_path / "delta", "--delta", bundle, "--format", "tar", "--format", "installer")
    (plain,) = (tmp_path / "delta").glob("*.tar")
    (full,) = (tmp_path / "full").glob("*.tar")
    names = [name for name in Bundle(plain).members if name.endswith(".conda")]
    assert names == ["channel/noarch/app-2.0-0.conda"]
    assert plain.stat().st_size < full.stat().st_size

    joined = tmp_path / "joined.tar"
    run([sys.executable, "-m", "maintain.bundle", "join", bundle, plain, joined], env=tools())
    assert joined.read_bytes() == full.read_bytes(), "as if it had been packed at once"

    said = install(delta, "--prefix", tmp_path / "env", "--no-doctor", code=2).stderr
    assert "--base FILE" in said and bundle.stem in said
    install(delta, "--prefix", tmp_path / "env", "--base", full, "--no-doctor", code=2)
    install(delta, "--prefix", tmp_path / "env", "--base", bundle, "--no-doctor")
    env = plain_env(tmp_path, PYTHONPATH=str(tmp_path / "env/lib/python3.11/site-packages"))
    assert run([tmp_path / "env/bin/hello"], env=env).stdout == "app 2.0\n"

    wrong = bytearray(bundle.read_bytes())
    wrong[Bundle(bundle).members["channel/noarch/data-1.0-0.conda"].offset] ^= 1
    (tmp_path / "wrong.tar").write_bytes(wrong)
    install(delta, "--prefix", tmp_path / "new", "--base", tmp_path / "wrong.tar", "--no-doctor", code=4)
    assert not (tmp_path / "new").exists()


def tools() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "scripts")}


def test_signature(made: Path, tmp_path: Path) -> None:
    key, other = tmp_path / "release.pem", tmp_path / "other.pem"
    for path in (key, other):
        assert CliRunner().invoke(cli, ["key", str(path)]).exit_code == 0
        assert path.stat().st_mode & 0o777 == 0o600
    assert CliRunner().invoke(cli, ["key", str(key)]).exit_code == 2, "a key is never overwritten"
    signed = pack(made / "channel", tmp_path / "out", "--key", key, "--format", "installer", "--format", "tar")
    (plain,) = (tmp_path / "out").glob("*.tar")

    def verify(path: Path, by: Path, code: int) -> None:
        done = CliRunner().invoke(cli, ["verify", str(path), "--key", f"{by}.pub"])
        assert done.exit_code == code, done.output
        install(
            path, "--key", f"{by}.pub", "--prefix", tmp_path / "env", "--no-doctor", code=code
        ) if path.suffix == ".sh" else None

    verify(plain, key, 0)
    verify(plain, other, 4)
    verify(signed, other, 4)
    assert not (tmp_path / "env").exists()
    verify(signed, key, 0)
    verify(made / "out" / signed.name, key, 4)  # not signed at all

    # A forger who writes manifest, hashes and head anew is stopped by the signature alone.
    forged = tmp_path / "forged"
    shutil.copytree(made / "channel", forged)
    dummies.package(forged, "data", files={"share/data.txt": b"evil"}, depends=["tool >=1"])
    dummies.index(forged)
    evil = pack(forged, tmp_path / "evil", "--key", other)
    install(evil, "--key", f"{key}.pub", "--prefix", tmp_path / "new", "--no-doctor", code=4)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("subdir", ["osx-arm64", "win-64", "linux-aarch64"])
def test_for_another_platform(tmp_path: Path, subdir: str) -> None:
    """Nothing of the target is run, so a bundle for any platform can be made here."""
    channel = tmp_path / "channel"
    names = {"win-64": ("python.exe", "Library/bin/libzstd.dll")}.get(subdir, ("bin/python3.11", "lib/libzstd.1.dylib"))
    dummies.package(channel, "python", "3.11.0", files={names[0]: b"python"}, subdir=subdir)
    dummies.package(channel, "zstd", files={names[1]: b"zstd"}, subdir=subdir)
    dummies.package(channel, "data", files={"share/data.txt": b"data"})
    dummies.index(channel)
    index_other(channel / subdir)
    lock(channel, tmp_path / "pixi.lock", subdir)
    command = [
        "create",
        "--lock",
        tmp_path / "pixi.lock",
        "--source",
        channel,
        "--platform",
        subdir,
        "--output",
        tmp_path,
    ]
    done = CliRunner().invoke(cli, [str(part) for part in command])
    assert done.exit_code == 0, done.output
    (path,) = (path for path in tmp_path.glob("prefect-env-*") if path.suffix in (".sh", ".cmd"))
    assert path.suffix == (".cmd" if subdir == "win-64" else ".sh")
    opened = Bundle(path)
    opened.verify()
    assert opened.manifest["platform"] == subdir
    with tarfile.open(fileobj=opened.open(layout.ENGINE)) as engine:
        assert set(names) <= set(engine.getnames())
    if path.suffix == ".sh":
        assert "unsupported-host" in install(path, "--prefix", tmp_path / "env", code=5).stderr


def test_the_committed_lock_runs_on_rhel_7() -> None:
    """Whatever is locked for Linux installs where glibc is 2.17; every archive's name fits into the layout."""
    read = lockfile.read(LOCK)
    rows = {row.subdir: row.virtual_packages for row in read.rows.values()}
    for (name, subdir), packages in select(read, (), ()).items():
        contents = Contents(Plan(name, channel(packages[0]), (), packages, "lock"), subdir, {}, rows[subdir])
        kind = subdir.partition("-")[0]
        assert contents.floors == {"linux": {"glibc": "2.17", "linux": "3.10"}, "osx": {"osx": "13.0"}}.get(kind, {})
        assert {"python", "zstd"} <= {package.name for package in packages}, "an installer can be made"
        for package in packages:
            assert layout.safe(contents.member(package)) and layout.header(contents.member(package), 1)


def test_an_environment_without_python(tmp_path: Path) -> None:
    channel = dummies.stand_in(tmp_path / "channel")
    pack(channel, tmp_path / "out", code=1)
    pack(channel, tmp_path / "out", "--format", "tar")
    (path,) = (tmp_path / "out").glob("*.tar")
    assert layout.ENGINE not in Bundle(path).members


def test_the_engine_needs_the_standard_library_only(bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(fileobj=Bundle(bundle).open(layout.ENGINE)) as engine:
        engine.extractall(tmp_path, filter="data")
    names = [module.removesuffix(".py").replace("/", ".") for module in MODULES]
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'engine')!r}); " + "; ".join(f"import {n}" for n in names)
    code += "; assert not [n for n, m in sys.modules.items() if 'site-packages' in str(getattr(m, '__file__', ''))]"
    run([sys.executable, "-I", "-S", "-c", code])


def test_the_five_commands(made: Path, tmp_path: Path) -> None:
    """Laptop and node as the page has them; only the lock, its packages and the program are the dummy environment's."""
    five = [text.replace("linux-64", PLATFORM) for _, text in commands(ROOT / "scripts/OFFLINE.md")][:5]
    assert [text.split()[0] for text in five] == ["scripts/mirror", "scripts/pack", "sh", "sh", "."]
    lock, channel = made / "channel/pixi.lock", made / "channel"
    more = ([f"--lock={lock}", f"--source={channel}"], [f"--lock={lock}", f"--output={tmp_path / 'dist'}"])
    for text, options in zip(five, more, strict=False):
        words = [*shlex.split(text), *options]
        run([sys.executable, ROOT / words[0], *words[1:]], cwd=tmp_path)
    node = tmp_path / "node"
    node.mkdir()
    for path in (tmp_path / "dist").glob("*.sh"):
        shutil.copy(path, node)
    script = "\n".join(five[2:]).replace("prefect version", "hello")
    env = plain_env(node, PYTHONPATH=str(node / "prefect/lib/python3.11/site-packages"))
    assert run(["sh", "-euc", script], cwd=node, env=env, trouble=True).stdout == "app 1.0\n"
    run([sys.executable, "-m", "maintain.bundle", "verify", node], env=tools(), code=2)
