"""Another release's programs run here: what is seen, where signals go, and that nothing is left behind."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maintain.channel import root as roots
from maintain.channel.debian import sources
from maintain.channel.release import BOOKWORM, RELEASES, TRIXIE, of_host
from maintain.channel.root import Root, root_of
from maintain.lib.errors import Exit, ToolError

OTHER = next(release for release in RELEASES.values() if release != of_host())


@pytest.fixture(scope="module")
def root() -> Root:
    try:
        return root_of(OTHER)
    except ToolError as error:
        if error.id in ("unsupported-host", "missing-program"):
            pytest.skip(f"{error.what}: {error.why}")
        raise


def run(root: Root, script: str, *words: str | Path, binds: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = root.command(["/bin/sh", "-c", script, "sh", *words], binds)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_machine_s_own_release_needs_no_root() -> None:
    assert root_of(of_host()).command(["a", Path("b")], [Path("/c")]) == ["a", "b"]


def test_it_is_the_other_release_with_the_host_s_folders(root: Root, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("the host's\n")
    done = run(root, 'cat /etc/debian_version "$1/here"; echo made > "$1/there"', tmp_path, binds=(tmp_path,))
    assert done.stdout.startswith(f"{OTHER.debian}."), done.stderr
    assert done.stdout.endswith("\nthe host's\n")
    assert (tmp_path / "there").read_text() == "made\n"


def test_what_is_not_bound_is_not_there_and_the_root_stays_as_it_is(root: Root, tmp_path: Path) -> None:
    assert root.folder
    before = sorted(path.name for path in root.folder.rglob("*"))
    done = run(root, 'test ! -e "$1" && echo x > /tmp/x && ! echo x > /usr/x', tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in root.folder.rglob("*")) == before
    assert str(root.folder) not in Path("/proc/self/mounts").read_text()


def test_it_holds_plain_files_only(root: Root) -> None:
    """A device among them, as /dev/zero, would fill the disk of whoever copies the cache."""
    assert root.folder
    paths = [path for path in root.folder.rglob("*") if not path.is_symlink()]
    assert [path for path in paths if not (path.is_file() or path.is_dir())] == []


def test_it_says_how_the_program_ended(root: Root) -> None:
    assert run(root, "exit 7").returncode == 7
    assert run(root, "kill -TERM $$").returncode == -signal.SIGTERM
    assert run(root, "kill -KILL $$").returncode == -signal.SIGKILL
    missing = subprocess.run(root.command(["no-such-program"]), capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (127, "no-such-program: No such file or directory\n")


def test_the_network_is_the_host_s(root: Root) -> None:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as served:
        threading.Thread(target=served.handle_request, daemon=True).start()
        script = 'exec 3<>"/dev/tcp/127.0.0.1/$1"; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; head -n 1 <&3'
        command = root.command(["bash", "-c", script, "bash", str(served.server_address[1])])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "204" in done.stdout, done.stderr


TRAP = """
trap 'echo stopped >> "$1/log"; sleep 0.2; echo orderly >> "$1/log"; exit 3' TERM
trap 'echo interrupted >> "$1/log"' INT
sleep 1000 & echo $! > "$1/child"
echo ready > "$1/ready"
while :; do wait; done
"""
"""A program that ends in an orderly way by SIGTERM, notes each signal, and leaves a child alone."""


def until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def sleepers() -> set[str]:
    """The processes ``sleep 1000`` of this machine that a root holds."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            inside = (path / "ns" / "pid").readlink() != Path("/proc/self/ns/pid").readlink()
            if inside and (path / "cmdline").read_bytes() == b"sleep\0001000\0":
                found.add(path.name)
        except OSError:
            continue
    return found


@pytest.fixture
def started(root: Root, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The trapping program in the root, as the leader of its group, as Prefect servers are started."""
    before = sleepers()
    command = root.command(["/bin/bash", "-c", TRAP, "bash", tmp_path], [tmp_path])
    process = subprocess.Popen(command, start_new_session=True)
    until((tmp_path / "ready").exists)
    assert len(sleepers() - before) == 1
    yield process
    process.kill()
    process.wait()
    until(lambda: sleepers() <= before)


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_signal_ends_the_program_in_an_orderly_way_and_reaches_it_once(
    started: subprocess.Popen[bytes], tmp_path: Path, send: Callable[[int, int], None]
) -> None:
    """Sent to the process alone or to its group; the child it left is taken along, which the fixture looks at."""
    send(started.pid, signal.SIGINT)
    until((tmp_path / "log").exists)
    send(started.pid, signal.SIGTERM)
    assert started.wait(30) == 3
    assert (tmp_path / "log").read_text().split() == ["interrupted", "stopped", "orderly"]


def test_a_killed_one_leaves_nothing(started: subprocess.Popen[bytes]) -> None:
    started.kill()
    assert started.wait(30) == -signal.SIGKILL


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, as those of pytest cannot be."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-root-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_user_without_rights_can_use_one(root: Root, open_folder: Path) -> None:
    python = Path("/usr/bin/python3")
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("the other tests show it" if python.exists() else f"no {python} that every user may run")
    assert root.folder
    subprocess.run(["cp", "--archive", root.folder, open_folder / "root"], check=True)
    shutil.copy(roots.INSIDE, open_folder)
    words: list[str | Path] = [
        "-I",
        open_folder / roots.INSIDE.name,
        open_folder / "root",
        "--",
        "/bin/sh",
        "-c",
        "id -u; kill -TERM $$",
    ]
    nobody: list[str | Path] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", python]
    done = subprocess.run([*nobody, *words], capture_output=True, text=True, timeout=60, check=False)
    if "lets nobody like us" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", -signal.SIGTERM)


def test_without_mmdebstrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(roots, "require_host", lambda: None)
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolError) as caught:
        root_of(OTHER)
    assert (caught.value.id, caught.value.exit_code) == ("missing-program", Exit.HOST)
    assert "apt-get install" in (caught.value.fix or "")


ONE_LINE = """\
# deb http://a.invalid/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian bookworm main contrib  # ours
deb http://a.invalid/debian-security bookworm-security main
deb http://a.invalid/debian bookworm-backports main
deb http://b.invalid/vendor stable main
"""

DEB822 = """\
# the archive
Types: deb
URIs: http://a.invalid/debian
Suites: bookworm bookworm-updates
 bookworm-backports
Components: main
Signed-By: /k.gpg

Types: deb
URIs: http://b.invalid/vendor
Suites: nodistro
Components: main
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Debian 12 machine's apt sources."""
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{folder}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr("maintain.channel.debian.of_host", lambda: BOOKWORM)
    return folder


def test_the_machine_s_sources_with_the_other_suites(configured: Path) -> None:
    """Both of apt's formats; vendors, backports and what is commented out are left out."""
    if not Path("/usr/bin/apt-config").exists():
        pytest.skip("no apt on this machine")
    (configured.parent / "sources.list").write_text(ONE_LINE)
    (configured / "debian.sources").write_text(DEB822)
    (configured / "old.list.disabled").write_text(ONE_LINE)
    assert sources(TRIXIE) == {
        "sources.list": "deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian trixie main contrib  # ours\n"
        "deb http://a.invalid/debian-security trixie-security main\n",
        "debian.sources": "Types: deb\nURIs: http://a.invalid/debian\nSuites: trixie trixie-updates\n"
        "Components: main\nSigned-By: /k.gpg\n",
    }


def test_sources_that_name_no_suite_of_the_machine_cannot_serve(configured: Path) -> None:
    (configured / "vendor.list").write_text("deb http://b.invalid/vendor stable main\n")
    with pytest.raises(ToolError) as caught:
        sources(TRIXIE)
    assert (caught.value.id, caught.value.exit_code) == ("unsupported-host", Exit.HOST)
