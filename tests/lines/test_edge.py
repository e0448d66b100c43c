"""Prefect from git: a tag, then a later commit, each as a conda package; an editable checkout with its hooks."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lines.conftest import RELEASE, Repository, small_group
from maintain.lib import server as servers
from support.commands import Done, run, script
from support.standin import standin

HERE = Path(__file__).parent


def facts(prefix: Path, home: Path) -> dict[str, Any]:
    """What ``prefect-env info`` says; Python, SQLite and OpenSSL must be the prefix's."""
    env = servers.environment(prefix, home)
    found: dict[str, Any] = json.loads(run([servers.program(prefix, "prefect-env"), "info", "--json"], env=env).stdout)
    assert found["ok"], found
    for part in found["components"]:
        assert Path(part["path"]).is_relative_to(prefix), part
    return found


def edge(repository: Repository, prefix: Path, *more: str, code: int = 0) -> Done:
    arguments: list[str | Path] = ["--git", repository.folder, "--prefix", prefix, "--channel", standin("3"), *more]
    return script("edge", *arguments, code=code, trouble=code != 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tag_then_a_later_commit(repository: Repository, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    tagged = json.loads(edge(repository, prefix, "--rev", RELEASE, "--json").stdout)
    assert tagged["commit"] == repository.git("rev-parse", RELEASE).strip()
    assert facts(prefix, tmp_path)["prefect"]["Version"] == RELEASE

    repository.require("colorama>=0.4.0")
    (repository.folder / "src" / "prefect" / "newer.py").write_text("ANSWER = 42\n")
    commit = repository.commit("A new module and a new dependency")
    later = json.loads(edge(repository, prefix, "--json").stdout)
    version = f"{RELEASE}+1.g{commit[:7]}"
    assert later["commit"] == commit
    assert later["removed"] == [f"prefect-{RELEASE}-edge_{tagged['commit'][:8]}_0"]
    assert later["added"] == [f"prefect-{version}-edge_{commit[:8]}_0"]
    said = facts(prefix, tmp_path)["prefect"]
    assert (said["Version"], said["Git commit"]) == (version, commit[:8])
    record = json.loads(next((prefix / "conda-meta").glob("prefect-3*.json")).read_text())
    assert "colorama >=0.4.0" in record["depends"]
    assert "python >=3.11,<3.13" in record["depends"]
    run([sys.executable, "-m", "pip", "--python", servers.program(prefix, "python"), "check"])

    with servers.running(prefix, tmp_path / "server") as server:  # without a user interface, as the clone has none
        done = server.run_flow()
        assert "total: 12" in done.stdout, done.stderr
        assert server.wait_for_task_runs(servers.TASKS) == servers.TASKS


@pytest.mark.slow
def test_what_is_not_there_is_said(repository: Repository, tmp_path: Path) -> None:
    done = edge(repository, tmp_path / "prefix", "--rev", "no-such-branch", code=2)
    assert "there is no revision no-such-branch" in done.stderr
    nowhere = Repository(tmp_path / "nowhere")
    assert "cannot be cloned" in edge(nowhere, tmp_path / "prefix", code=3).stderr
    assert not (tmp_path / "prefix").exists()


def develop(checkout: Path, prefix: Path, code: int = 0) -> Done:
    return script(
        "develop", checkout, "--prefix", prefix, "--channel", standin("3"), "--json", code=code, trouble=code != 0
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_checkout_for_developers(repository: Repository, tmp_path: Path) -> None:
    checkout = Repository(tmp_path / "checkout")
    repository.git("clone", "--quiet", "--branch", RELEASE, str(repository.folder), str(checkout.folder))
    small_group(checkout)
    hook = "{id: no-marker, name: no marker, entry: MARKER, language: pygrep, files: '[.]py$'}"
    (checkout.folder / ".pre-commit-config.yaml").write_text(f"repos: [{{repo: local, hooks: [{hook}]}}]\n")
    prefix = tmp_path / "prefix"

    refused = json.loads(develop(checkout.folder, prefix, code=4).stdout)
    assert (refused["error"], refused["where"]) == ("no-hash", str(checkout.folder / "uv.lock"))

    shutil.copy(HERE / "uv.lock", checkout.folder)
    done = json.loads(develop(checkout.folder, prefix).stdout)
    assert "pre-commit==4.7.0" in done["from_lock"]
    assert not [pin for pin in done["from_lock"] if pin.startswith(("pyyaml", "packaging"))]  # the channel has them
    assert done["hooks"]
    assert done["conflicts"] == []

    source = checkout.folder / "src" / "prefect" / "newer.py"
    source.write_text("ANSWER = 42\n")
    code = "import prefect.newer, prefect; print(prefect.newer.ANSWER, prefect.__file__)"
    env = servers.environment(prefix, tmp_path / "home")
    shown = run([servers.program(prefix, "python"), "-c", code], env=env, cwd=tmp_path).stdout.split()
    assert shown == ["42", str(checkout.folder / "src" / "prefect" / "__init__.py")]
    assert facts(prefix, tmp_path / "home")["prefect"]["Version"].startswith(RELEASE)
    doctor: list[str | Path] = [servers.program(prefix, "prefect-env"), "doctor", "--offline", "--only", "prefect"]
    (report,) = json.loads(run([*doctor, "--json"], env=env, cwd=tmp_path).stdout)
    assert (report["status"], RELEASE in report["evidence"]) == ("ok", True)
    tools = run([servers.program(prefix, "python"), "-m", "pip", "list", "--format", "json"], env=env).stdout
    assert not {"hatchling", "versioningit"} & {item["name"] for item in json.loads(tools)}

    checkout.commit("Before")
    source.write_text("MARKER = 1\n")
    checkout.git("add", "--all")
    assert "no marker" in checkout.git("commit", "--message", "What the hook refuses", code=1)


@pytest.mark.slow
def test_what_is_no_checkout_of_prefect_is_refused(tmp_path: Path) -> None:
    assert "no checkout of Prefect" in script("develop", tmp_path, code=2).stderr
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\ndependencies = []\n')
    assert "this is other, not Prefect" in script("develop", tmp_path, code=2).stderr
