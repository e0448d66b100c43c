"""A server that is up and dead: it holds the database, and nobody is moved to one; on prefixes of a few lines."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prefect_env.console import CommandError
from prefect_env.db import servers
from prefect_env.db.prefix import Prefix
from prefect_env.prefect_settings import Settings
from prefect_env.settings import Value
from prefect_env.upgrade import trial
from support import fake_server
from upgrade import fakes
from upgrade.content import digest

OLD, NEW = "cf1159bd0d3c", "20fbd53b3cef"


def server_on(url: str) -> None:
    """Raises what the database commands raise when the settings lead to ``url``."""
    servers.none_answers(Settings(Path(), "", {"PREFECT_API_URL": Value(url, "environment")}), "prefect.db")


@contextmanager
def listening(*, answer: bytes) -> Iterator[str]:
    """A listener that reads a request, says ``answer`` and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = listener.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"


@pytest.mark.parametrize("mode", ["sound", "old", "locked"])
def test_a_server_holds_the_database(mode: str) -> None:
    with fake_server.serving(mode) as url, pytest.raises(CommandError) as caught:
        server_on(f"{url}/")
    assert caught.value.fields["error"] == "busy"
    assert caught.value.fields["what"] == f"a Prefect server answers on {url}"
    assert caught.value.fields["why"] == "it may use this database"


def test_a_dead_server_holds_it_too_and_is_told_as_dead() -> None:
    with fake_server.serving("dead") as url, pytest.raises(CommandError) as caught:
        server_on(url)
    why = "it may use this database, though it is up and dead: "
    assert caught.value.fields["why"] == f"{why}/health 200, /ready 500, /admin/version 500, /flows/filter 500"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "HTTP 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "HTTP 200"),
        (b"no HTTP\r\n\r\n", "no HTTP"),
        (b"", "without response"),
    ],
)
def test_whatever_answers_there_may_hold_it(answer: bytes, said: str) -> None:
    with listening(answer=answer) as url, pytest.raises(CommandError) as caught:
        server_on(url)
    assert str(caught.value.fields["what"]).startswith(f"a server answers on {url}: ")
    assert said in str(caught.value.fields["what"])


def test_where_nobody_listens_nobody_holds_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server_on(f"http://127.0.0.1:{unused.getsockname()[1]}/api")
    for url in ("https://prefect.test/api", "http://[/api", "http://127.0.0.1:port/api"):
        server_on(url)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.make(tmp_path_factory.mktemp("prefixes") / "old", "2.8.6", OLD)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a database, and a folder for temporary files of its own."""
    fakes.database(tmp_path / "home" / "prefect.db", OLD)
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    return tmp_path / "home"


def test_nobody_is_moved_to_a_dead_server_unless_told(old: Path, home: Path, tmp_path: Path) -> None:
    new = fakes.make(tmp_path / "new", "2.13.3", NEW, server="dead")  # a release that the doctor warns of
    link = tmp_path / "current"
    link.symlink_to(old)
    before = digest(home / "prefect.db")
    move = ("upgrade", "run", "--to", new, "--link", link, "--yes", "--json")
    said = json.loads(fakes.cli(old, home, *move, code=1).stdout)
    assert (said["error"], said["where"]) == ("server-dead", str(new))
    assert [line.strip() for line in said["why"].splitlines()] == [
        "/health 200, /ready 500, /admin/version 500, /flows/filter 500",
        fake_server.EXCEPTION,
        "Prefect 2.13.3: its last database revision is unknown to every later release (PrefectHQ/prefect#10887)",
    ]
    assert "--untried" in said["fix"]
    assert (digest(home / "prefect.db"), link.readlink()) == (before, old)
    assert not (home / "prefect-env" / "upgrades.json").exists()
    assert list((tmp_path / "temp").iterdir()) == []
    fakes.cli(old, home, *move, "--untried")
    assert link.readlink() == new


def test_a_server_that_does_not_start_stops_it_too(old: Path, home: Path, tmp_path: Path) -> None:
    new = fakes.make(tmp_path / "new", "2.20.26", NEW)
    (new / "bin" / "python").unlink()
    (new / "bin" / "python").write_text(
        "#!/bin/sh\ncase \"$*\" in *' start '*) echo \"ImportError: no name 'Undefined'\" >&2; exit 3;; esac\n"
        f'exec "{sys.executable}" "$@"\n'
    )
    (new / "bin" / "python").chmod(0o755)
    done = fakes.cli(old, home, "upgrade", "run", "--to", new, "--yes", code=1)
    assert "the server of Prefect 2.20.26 does not start" in done.stderr
    assert "it ended with code 3" in done.stderr
    assert "ImportError: no name 'Undefined'" in done.stderr


@pytest.mark.parametrize("mode", ["sound", "old", "starting"])
def test_a_server_that_serves_passes_and_is_gone_afterwards(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = trial._free_port()
    monkeypatch.setattr(trial, "_free_port", lambda: port)
    trial.run(Prefix.at(fakes.make(tmp_path / "new", "2.20.26", NEW, server=mode)))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_server_without_an_answer_is_not_waited_for_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.5)
    new = fakes.make(tmp_path / "new", "2.20.26", NEW)
    (new / "bin" / "python").unlink()
    (new / "bin" / "python").write_text(f'#!/bin/sh\necho $$ >"{tmp_path}/pid"; exec cat\n')
    (new / "bin" / "python").chmod(0o755)
    with pytest.raises(CommandError, match="does not start") as caught:
        trial.run(Prefix.at(new))
    assert "no answer" in str(caught.value.fields["why"])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_killed_trial_leaves_no_server(old: Path, home: Path, tmp_path: Path) -> None:
    new = fakes.make(tmp_path / "new", "2.20.26", NEW, server="dead")
    with (new / "lib" / f"python3.{sys.version_info.minor}/site-packages/prefect/cli/__init__.py").open("a") as stream:
        stream.write(f"\nPath({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n")
    process = subprocess.Popen(
        [old / "bin" / "python", "-m", "prefect_env", "upgrade", "run", "--to", new, "--yes"],
        env=fakes.environment(old, home),
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    stat = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    for _ in range(300):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.1)
    pytest.fail("the server lives on")


def test_a_plan_says_that_it_tries(old: Path, home: Path, tmp_path: Path) -> None:
    new = fakes.make(tmp_path / "new", "2.20.26", NEW, server="dead")
    tries = "try the server of Prefect 2.20.26 on a database of its own"
    plan = ("upgrade", "plan", "--to", new, "--json")
    assert json.loads(fakes.cli(old, home, *plan).stdout)["actions"][0] == tries
    assert tries not in fakes.cli(old, home, *plan, "--untried").stdout
    assert tries not in fakes.cli(new, home, "db", "upgrade", "--dry-run").stdout
