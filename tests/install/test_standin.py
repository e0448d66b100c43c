"""The real thing: Prefect's environment from the stand-in channel, by the command, and what other tools make of it."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from install.conftest import command, environ
from maintain.channel import sets
from maintain.channel.specs import conda_name
from maintain.install import conda_meta
from maintain.lib.paths import cache_dir
from support.commands import run
from support.standin import standin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standin")


@pytest.fixture(scope="module")
def installed(home: Path) -> Path:
    """The environment ``default``, by the command as users run it but for the interpreter."""
    prefix = home / "default env"
    channel = standin()
    line = [part for part in command(channel, prefix, "--json") if part not in ("--line", "3")]
    done = run(line, env=environ(PREFECT_ENV_CACHE=str(cache_dir())))
    assert json.loads(done.stdout)["environment"] == "default"
    return prefix


def inside(prefix: Path, code: str) -> str:
    """What ``code`` prints in a shell where the prefix is active."""
    script = f"set -eu\n. {shlex.quote(str(prefix / 'activate'))}\n{code}\n"
    return run(["bash", "-c", script]).stdout.strip()


def test_every_python_package_is_at_its_locked_version(installed: Path) -> None:
    there = {name: record["version"] for name, record in conda_meta.load(installed).items()}
    locked = sets.locked_part("default").projects
    assert len(locked) > 100
    assert {name: there.get(conda_name(name)) for name in locked} == locked


def test_prefect_runs_in_the_activated_environment(installed: Path, tmp_path: Path) -> None:
    said = inside(installed, f"PREFECT_HOME={shlex.quote(str(tmp_path))} prefect --version && command -v python")
    version, python = said.splitlines()
    assert version == conda_meta.load(installed)["prefect"]["version"]
    assert python == f"{installed}/bin/python"


def test_it_uses_its_own_libraries_and_byte_code(installed: Path) -> None:
    code = (
        "import prefect, ssl, sys; print(sys.prefix, prefect.__cached__, ssl.get_default_verify_paths().openssl_cafile)"
    )
    assert inside(installed, f"python -c {shlex.quote(code)}").count(str(installed)) == 3


def test_running_leaves_no_new_files(installed: Path) -> None:
    def files() -> set[Path]:
        return {path for path in installed.rglob("*") if path.is_file()}

    before = files()
    inside(installed, "python -c 'import prefect.flows'")
    assert files() == before, "byte code was missing or stale"


def test_every_file_is_recorded(installed: Path) -> None:
    known = {file for record in conda_meta.load(installed).values() for file in record["files"]}
    found = {
        str(path.relative_to(installed)) for path in installed.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    strange = {path for path in found - known if not path.startswith(("conda-meta/", "activate", "deactivate"))}
    assert strange == {"CACHEDIR.TAG"} and not known - found


def test_conda_pack_takes_it(installed: Path, tmp_path: Path) -> None:
    """conda-pack compares every record with the files; a record it cannot read or a missing file is an error."""
    conda_pack = pytest.importorskip("conda_pack")
    moved = tmp_path / "moved"
    conda_pack.pack(prefix=str(installed), output=str(moved), format="no-archive")
    run([moved / "bin/python", moved / "bin/conda-unpack"])
    assert inside(moved, "prefect --version") == conda_meta.load(installed)["prefect"]["version"]


def test_uninstalling_by_records_leaves_nothing_of_packages(installed: Path, tmp_path: Path) -> None:
    """What conda and pixi do to remove a package: delete the files of its record, byte code too."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-al", installed, copy], check=True)
    for record in conda_meta.load(copy).values():
        for file in record["files"]:
            (copy / file).unlink()
    left = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert all(path.startswith(("conda-meta/", "activate", "deactivate", "CACHEDIR")) for path in left)
