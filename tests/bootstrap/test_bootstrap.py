"""The tool environment: made once, from hashes, with the site's own index, proxy and CA settings."""

from __future__ import annotations

import http.server
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from maintain import bootstrap
from maintain.lib.paths import ROOT
from support.commands import run

WHEEL = "tiny-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A Python index on loopback with one wheel; its URL and the wheel's hash."""
    folder = tmp_path / "index" / "tiny"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tiny.py", "ANSWER = 42\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(
            "tiny-1.0.dist-info/RECORD",
            "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n",
        )
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>', encoding="utf-8")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder.parent))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", sha256((folder / WHEEL).read_bytes()).hexdigest()
        server.shutdown()


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the bootstrap with requirements of its own and one tool."""
    scripts = tmp_path / "a clone" / "scripts"
    (scripts / "maintain" / "lib").mkdir(parents=True)
    for name in ("__init__.py", "bootstrap.py", "lib/__init__.py", "lib/paths.py"):
        (scripts / "maintain" / name).write_bytes((ROOT / "scripts" / "maintain" / name).read_bytes())
    (scripts / "maintain" / "requirements").mkdir()
    (scripts / "maintain" / "hello.py").write_text("import sys, tiny\nprint(tiny.ANSWER, *sys.argv[1:])\n")
    (scripts / "hello").write_text("from maintain.bootstrap import run\nrun('maintain.hello')\n")
    return scripts


def environment(tmp_path: Path, *, index: str, uv: bool) -> dict[str, str]:
    path = os.environ["PATH"].split(os.pathsep)
    if not uv:
        path = [folder for folder in path if not (Path(folder) / "uv").exists()]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return {
        **kept,
        "PATH": os.pathsep.join(path),
        "PREFECT_ENV_CACHE": str(tmp_path / "cache"),
        "PIP_INDEX_URL": index,
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
        "PIP_NO_CACHE_DIR": "1",
    }


@pytest.fixture(params=["pip", "uv"])
def with_uv(request: pytest.FixtureRequest) -> bool:
    if request.param == "uv" and not any(
        (Path(folder) / "uv").exists() for folder in os.environ["PATH"].split(os.pathsep)
    ):
        pytest.skip("uv is not installed")
    return bool(request.param == "uv")


def pin(house: Path, digest: str) -> None:
    (house / "maintain" / "requirements" / "tools.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")


def test_first_run_makes_it_and_second_reuses_it(
    house: Path, index: tuple[str, str], tmp_path: Path, with_uv: bool
) -> None:
    url, digest = index
    pin(house, digest)
    env = environment(tmp_path, index=url, uv=with_uv)
    first = run([sys.executable, house / "hello", "a b"], env=env)
    assert first.stdout == "42 a b\n"
    assert "making the tool environment" in first.stderr
    # The index is not asked again: a wrong address does no harm.
    second = run([sys.executable, house / "hello"], env={**env, "PIP_INDEX_URL": "http://127.0.0.1:9/"})
    assert (second.stdout, second.stderr) == ("42\n", "")


def test_half_made_environment_is_made_again(house: Path, index: tuple[str, str], tmp_path: Path) -> None:
    url, digest = index
    pin(house, digest)
    env = environment(tmp_path, index=url, uv=False)
    run([sys.executable, house / "hello"], env=env)
    (made,) = (path for path in (tmp_path / "cache" / "tools").iterdir() if path.is_dir())
    (made / ".ready").unlink()
    next(made.rglob("tiny.py")).unlink()
    assert run([sys.executable, house / "hello"], env=env).stdout == "42\n"


def test_wrong_hash_is_refused(house: Path, index: tuple[str, str], tmp_path: Path, with_uv: bool) -> None:
    pin(house, "0" * 64)
    done = run(
        [sys.executable, house / "hello"],
        code=4,
        env=environment(tmp_path, index=index[0], uv=with_uv),
        trouble=True,
    )
    assert "does not have the pinned hash" in done.stderr
    assert done.stdout == ""


def test_no_network(house: Path, tmp_path: Path, with_uv: bool) -> None:
    pin(house, "0" * 64)
    env = environment(tmp_path, index="http://127.0.0.1:9/", uv=with_uv)
    done = run([sys.executable, house / "hello"], code=3, env=env, trouble=True)
    assert "HTTPS_PROXY" in done.stderr
    assert "Traceback" not in done.stderr


def test_cache_that_cannot_be_written(house: Path, tmp_path: Path) -> None:
    pin(house, "0" * 64)
    (tmp_path / "file").write_text("in the way")
    env = {
        **environment(tmp_path, index="http://127.0.0.1:9/", uv=False),
        "PREFECT_ENV_CACHE": str(tmp_path / "file"),
    }
    done = run([sys.executable, house / "hello"], code=5, env=env)
    assert "PREFECT_ENV_CACHE" in done.stderr


def test_uv_is_told_pips_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = https://user:p%40ss@mirror.corp/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert bootstrap.uv_settings({})["UV_DEFAULT_INDEX"] == "https://user:p%40ss@mirror.corp/simple"
    assert bootstrap.uv_settings({"UV_DEFAULT_INDEX": "https://own/"})["UV_DEFAULT_INDEX"] == "https://own/"
