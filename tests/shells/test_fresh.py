"""No process while the state is fresh; exactly one start of Python when something changed, in every shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shells import cases, runners
from shells.checks import change
from shells.fixtures import starts
from shells.runners import SHELLS, Shell

ROW = {"site": "HTTPS_PROXY=http://proxy.corp:3128\nCA_FILE={corp}", "user": "TELEMETRY=off"}
NEW = re.compile(rb"^\d+ +(?:execve|fork|vfork|clone3?)\(", re.MULTILINE)
THREAD = b"CLONE_THREAD"


@pytest.fixture(params=SHELLS.values(), ids=lambda shell: shell.name)
def shell(request: pytest.FixtureRequest) -> Shell:
    found: Shell = request.param
    if runners.program(found) is None:
        pytest.skip(f"{found.name} is not installed")
    return found


def processes(shell: Shell, case: cases.Case, code: list[str], here: Path) -> int:
    """How many processes and programs strace sees the shell start."""
    here.mkdir()
    text = here / f"script.{shell.extension}"
    text.write_text("\n".join([*code, ""]))
    etc = case.prefix / "etc" / "conda"
    env = {**case.environment, "CONDA_PREFIX": str(case.prefix), "T_ETC": str(etc)}
    command = ["strace", "-f", "-qq", "-e", "trace=process", "-o", str(here / "trace"), *shell.command, str(text)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    if b"Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    lines = (here / "trace").read_bytes().splitlines()
    return sum(1 for line in lines if NEW.match(line + b"\n") and THREAD not in line)


@pytest.mark.parametrize("name", ["bash", "dash", "zsh", "fish", "tcsh"])
def test_no_process(name: str, tmp_path: Path) -> None:
    """Activation and deactivation start as many processes as an empty script: none."""
    shell = SHELLS[name]
    for program in (shell.command[0], "strace"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    case = cases.lay_out(ROW, tmp_path / "case")
    etc = case.prefix / "etc" / "conda"
    both = [shell.source.format(path=runners.script(shell, etc, folder)) for folder in ("activate.d", "deactivate.d")]
    assert processes(shell, case, both, tmp_path / "ours") == processes(shell, case, [], tmp_path / "empty")
    assert starts(case.prefix) == 0


def later(path: Path) -> None:
    """Give a file another date, an older one: a package or a restored backup has that."""
    os.utime(path, ns=(10**18, 10**18))


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)
    later(path)


def changed_site(case: cases.Case) -> None:
    rewrite(case.prefix / "etc/prefect-env/site.d/10-site.conf", "HTTPS_PROXY=http://other.corp:3128")


def new_site(case: cases.Case) -> None:
    (case.prefix / "etc/prefect-env/site.d/90-new.conf").write_text("HTTPS_PROXY=http://other.corp:3128")
    later(case.prefix / "etc/prefect-env/site.d")  # tcsh sees whole seconds


def new_project(case: cases.Case) -> None:
    (case.place / "project/prefect-env.conf").write_text("HTTPS_PROXY=http://other.corp:3128")


def gone_user(case: cases.Case) -> None:
    (case.place / "home/.config/prefect-env/prefect-env.conf").unlink()


def packages(case: cases.Case) -> None:
    """What every installation does; ca-certificates may come with the date it had before."""
    roots = case.prefix / "ssl" / "cacert.pem"
    date = roots.stat().st_mtime_ns
    roots.write_bytes(Path(case.certificates.path("crlf")).read_bytes())
    os.utime(roots, ns=(date, date))
    (case.prefix / "conda-meta" / "ca-certificates-2.json").touch()
    later(case.prefix / "conda-meta")


def changed_ca(case: cases.Case) -> None:
    target = Path(case.certificates.path("corp"))
    content = target.read_bytes()
    target.unlink()
    target.write_bytes(content + b"# changed\n")
    later(target)


def gone_bundle(case: cases.Case) -> None:
    assert case.bundle is not None
    case.bundle.unlink()


@pytest.mark.parametrize(
    "act",
    [changed_site, new_site, new_project, gone_user, packages, changed_ca, gone_bundle],
    ids=lambda act: act.__name__,
)
def test_stale(act: Callable[[cases.Case], None], shell: Shell, tmp_path: Path) -> None:
    """After a change the first activation works things out anew by one start of Python, the second reads them."""
    if shell.name == "xonsh" and act is not changed_site:
        pytest.skip("one change is enough where each takes a second")
    case = cases.lay_out(ROW, tmp_path / "case")
    act(case)
    run = runners.run(shell, case.prefix, case.environment, tmp_path / "run", meanwhile={})
    before, active, again, after = run.steps
    assert starts(case.prefix) == 1
    assert run.stderr == ""
    assert active == again
    assert change(before, after, ours=True) == {}
    found = {name.lower(): value for name, value in change(before, active).items()}
    proxy = (
        "http://proxy.corp:3128" if act in (gone_user, packages, changed_ca, gone_bundle) else "http://other.corp:3128"
    )
    assert found["https_proxy"] == proxy
    assert ("do_not_track" in found) == (act is not gone_user)
    if act is not changed_site:
        assert Path(str(found["ssl_cert_file"])).exists()


def test_users_variables_are_part_of_the_state(shell: Shell, tmp_path: Path) -> None:
    """Another value of a variable, or of one that was unset, is noticed."""
    case = cases.lay_out(ROW, tmp_path / "case")
    env = {**case.environment, "https_proxy": "http://mine.corp:1"}
    run = runners.run(shell, case.prefix, env, tmp_path / "run", meanwhile={})
    assert starts(case.prefix) == 1
    assert folded(run.steps[1])["https_proxy"] == "http://mine.corp:1"
    assert change(run.steps[0], run.steps[3], ours=True) == {}


def test_a_line_feed_in_a_users_variable(shell: Shell, tmp_path: Path) -> None:
    """It cannot pass for a line of the state, in one that we would set as in one that we only look at."""
    case = cases.lay_out(ROW, tmp_path / "case")
    env = {**case.environment, "no_proxy": "a.corp\nset PREFECT_HOME /x", "APPDATA": "/x\nset PREFECT_HOME /x"}
    env["PIXI_PROJECT_ROOT"] = "/x\nset PREFECT_HOME /x"
    run = runners.run(shell, case.prefix, env, tmp_path / "run", meanwhile={})
    before, active, _, after = run.steps
    assert starts(case.prefix) == 2, "such an environment is worked out at each activation"
    assert folded(active)["https_proxy"] == "http://proxy.corp:3128"
    assert active["no_proxy"] == env["no_proxy"]
    assert "no_proxy has a control character" in run.stderr
    assert "PREFECT_HOME" not in active
    assert change(before, after, ours=True) == {}


def folded(env: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in env.items()}


def test_no_state_no_home(shell: Shell, tmp_path: Path) -> None:
    """Without a folder for the state it is worked out each time, in a private temporary folder."""
    case = cases.lay_out(ROW, tmp_path / "case", prepare=False)
    (case.place / "cache dir").write_text("not a folder")
    run = runners.run(shell, case.prefix, case.environment, tmp_path / "run", meanwhile={})
    assert folded(run.steps[1])["https_proxy"] == "http://proxy.corp:3128"
    assert change(run.steps[0], run.steps[3], ours=True) == {}


def test_broken_python(shell: Shell, tmp_path: Path) -> None:
    """Where the prefix's Python does not work, activation goes on without the settings and says why."""
    case = cases.lay_out(ROW, tmp_path / "case", prepare=False)
    (case.prefix / "bin" / "python").write_text("#!/bin/sh\necho 'prefect-env: broken' >&2\nexit 1\n")
    run = runners.run(shell, case.prefix, case.environment, tmp_path / "run", meanwhile={})
    assert run.steps[0] == run.steps[1] == run.steps[3]
    assert "prefect-env: broken" in run.stderr


def test_no_python(shell: Shell, tmp_path: Path) -> None:
    """A prefix without Python is activated as if we were not there."""
    case = cases.lay_out(ROW, tmp_path / "case", prepare=False)
    (case.prefix / "bin" / "python").unlink()
    run = runners.run(shell, case.prefix, case.environment, tmp_path / "run", meanwhile={})
    assert run.steps[0] == run.steps[1] == run.steps[3]
    assert run.stderr == ""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[cases.Case]:
    """A case whose prefix cannot be written, even by root."""
    case = cases.lay_out(ROW, tmp_path / "case", prepare=False)
    mount = subprocess.run(["mount", "--bind", str(case.prefix), str(case.prefix)], check=False, capture_output=True)
    if mount.returncode or subprocess.run(["mount", "-o", "remount,bind,ro", str(case.prefix)], check=False).returncode:
        pytest.skip("mount needs root")
    yield case
    subprocess.run(["umount", str(case.prefix)], check=True)


@pytest.mark.parametrize("name", ["bash", "tcsh", "fish"])
def test_read_only_prefix(name: str, read_only: cases.Case, tmp_path: Path) -> None:
    """The bundle of a prefix that cannot be written is in the user's cache folder."""
    shell = SHELLS[name]
    if runners.program(shell) is None:
        pytest.skip(f"{name} is not installed")
    (read_only.prefix / "bin").stat()
    run = runners.run(shell, read_only.prefix, read_only.environment, tmp_path / "run", meanwhile={})
    bundle = Path(run.steps[1]["SSL_CERT_FILE"])
    assert read_only.place / "cache dir" in bundle.parents
    assert bundle.exists()
    assert run.steps[0] == run.steps[3]
