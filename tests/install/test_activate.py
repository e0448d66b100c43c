"""The activation scripts that need no conda: one table of cases in every shell found."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from install import dummies
from maintain.install.choice import choose
from maintain.install.engine import ACTIVATE, install
from shells import runners

NAMES = ("B", "a", "a_c")
"""Scripts of packages, in conda's order: by byte."""


@dataclass(frozen=True)
class Shell:
    """How one shell says it; ``{}`` takes a quoted path, or a name."""

    command: tuple[str, ...]
    script: str
    suffix: str
    source: str = "source {}"
    quote: Callable[[str], str] = shlex.quote
    dump: str = "env -0 > {}"
    change: str = "cd {}"
    trace: str = 'echo {} >> "$TRACE"'
    export: str = "export FROM_{}=1"
    unset: str = "unset FROM_{}"


def double(text: str) -> str:
    return f'"{text}"'


POSIX = Shell(("bash", "--norc"), "activate", ".sh", ". {}")
SHELLS = {
    "bash": POSIX,
    "bash-strict": Shell(("bash", "--norc", "-eu"), "activate", ".sh", ". {}"),
    "dash": Shell(("dash",), "activate", ".sh", ". {}"),
    "dash-strict": Shell(("dash", "-eu"), "activate", ".sh", ". {}"),
    "zsh": Shell(("zsh", "-f"), "activate", ".sh", ". {}"),
    "zsh-strict": Shell(("zsh", "-f", "-eu"), "activate", ".sh", ". {}"),
    "fish": Shell(("fish", "-N"), "activate.fish", ".fish", export="set -gx FROM_{} 1", unset="set -e FROM_{}"),
    "tcsh": Shell(("tcsh", "-f"), "activate.csh", ".csh", export="setenv FROM_{} 1", unset="unsetenv FROM_{}"),
    "xonsh": Shell(
        ("xonsh", "--no-rc"),
        "activate.xsh",
        ".xsh",
        quote=lambda text: f"@({text!r})",
        trace="echo {} >> $TRACE",
        export='$FROM_{} = "1"',
        unset="del $FROM_{}",
    ),
    "nu": Shell(
        ("nu", "--no-config-file"),
        "activate.nu",
        ".nu",
        source="overlay use {}",
        quote=double,
        dump="^env -0 | save --force {}",
        trace='"{}\\n" | save --append $env.TRACE',
        export='$env.FROM_{} = "1"',
        unset="hide-env FROM_{}",
    ),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    found = SHELLS[request.param]
    program = shutil.which(found.command[0])
    if request.param == "nu":
        program = runners.program(runners.SHELLS["nushell"])
    if not program:
        pytest.skip(f"{found.command[0]} is not installed")
    return replace(found, command=(program, *found.command[1:]))


class Session:
    """Lines for one shell, run at once as a script; ``dump`` takes the environment at that point."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.shell = shell
        self.folder = folder
        self.lines: list[str] = []
        self.dumps = 0
        self.trace = folder / "trace"

    def activate(self, prefix: Path | str) -> None:
        self.lines.append(self.shell.source.format(self.shell.quote(str(Path(prefix) / self.shell.script))))

    def deactivate(self) -> None:
        self.lines.append("deactivate")

    def change(self, folder: Path) -> None:
        self.lines.append(self.shell.change.format(self.shell.quote(str(folder))))

    def dump(self) -> None:
        self.lines.append(self.shell.dump.format(self.shell.quote(str(self.folder / f"dump-{self.dumps}"))))
        self.dumps += 1

    def run(self, **variables: str) -> list[dict[str, str]]:
        """The environments that were dumped; anything on stderr is a failure."""
        script = self.folder / f"session{self.shell.suffix}"
        script.write_text("\n".join(self.lines) + "\n")
        env = {**os.environ, "TRACE": str(self.trace), "LC_ALL": "C.UTF-8", **variables}
        done = subprocess.run([*self.shell.command, script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr, f"{done.returncode}: {done.stdout}{done.stderr}"
        found = []
        for number in range(self.dumps):
            pairs = (self.folder / f"dump-{number}").read_bytes().decode().split("\0")[:-1]
            found.append(dict(pair.split("=", 1) for pair in pairs if not pair.startswith(("_=", "PWD=", "OLDPWD="))))
        return found

    def traced(self) -> list[str]:
        return [line.strip() for line in self.trace.read_text().splitlines()]


@pytest.fixture
def session(shell: Shell, tmp_path: Path) -> Session:
    return Session(shell, tmp_path)


@pytest.fixture
def prefixes(shell: Shell, channel: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two environments that have scripts of packages, one of them with a nasty name."""
    files = {}
    for name in NAMES:
        on = [shell.trace.format(f"+{name}"), shell.export.format(name)]
        off = [shell.trace.format(f"-{name}"), shell.unset.format(name)]
        files[f"etc/conda/activate.d/{name}{shell.suffix}"] = "\n".join([*on, ""]).encode()
        files[f"etc/conda/deactivate.d/{name}{shell.suffix}"] = "\n".join([*off, ""]).encode()
    dummies.package(channel, "data", "2.0", files=files, depends=["tool"])
    dummies.index(channel)
    one, other = tmp_path / "it's one" / "my env", tmp_path / "other"
    for prefix in (one, other):
        install(prefix, choose(str(channel)), line="3")
    return one, other


def path_of(environment: dict[str, str]) -> list[str]:
    return environment["PATH"].split(":")


def test_there_and_back(session: Session, prefixes: tuple[Path, Path]) -> None:
    session.dump()
    session.activate(prefixes[0])
    session.dump()
    session.deactivate()
    session.dump()
    before, inside, after = session.run()
    assert inside["CONDA_PREFIX"] == str(prefixes[0]) and inside["CONDA_DEFAULT_ENV"] == "my env"
    assert path_of(inside) == [f"{prefixes[0]}/bin", *path_of(before)]
    assert all(inside[f"FROM_{name}"] == "1" for name in NAMES)
    assert before == after and "CONDA_PREFIX" not in after
    off = [] if session.shell.script == "activate.nu" else [f"-{name}" for name in reversed(NAMES)]
    assert session.traced() == [f"+{name}" for name in NAMES] + off


def test_what_was_set_before_comes_back(session: Session, prefixes: tuple[Path, Path]) -> None:
    session.activate(prefixes[0])
    session.deactivate()
    session.dump()
    (after,) = session.run(CONDA_PREFIX="/opt/conda with blanks", CONDA_DEFAULT_ENV="base")
    assert (after["CONDA_PREFIX"], after["CONDA_DEFAULT_ENV"]) == ("/opt/conda with blanks", "base")


def test_twice_is_once(session: Session, prefixes: tuple[Path, Path]) -> None:
    session.dump()
    session.activate(prefixes[0])
    session.activate(prefixes[0])
    session.dump()
    session.deactivate()
    session.dump()
    before, inside, after = session.run()
    assert before == after
    assert path_of(inside).count(f"{prefixes[0]}/bin") == 1


def test_from_one_to_the_other(session: Session, prefixes: tuple[Path, Path]) -> None:
    if session.shell.script == "activate.nu":
        pytest.skip("nushell stacks overlays of one name itself")
    session.dump()
    session.activate(prefixes[0])
    session.activate(prefixes[1])
    session.dump()
    session.deactivate()
    session.dump()
    before, inside, after = session.run()
    assert inside["CONDA_PREFIX"] == str(prefixes[1]) and f"{prefixes[0]}/bin" not in path_of(inside)
    assert before == after


def test_it_finds_itself_where_it_was_moved(session: Session, prefixes: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "mo ved"
    prefixes[0].rename(moved)
    session.activate(moved)
    session.dump()
    (inside,) = session.run()
    assert inside["CONDA_PREFIX"] == str(moved) and path_of(inside)[0] == f"{moved}/bin"


def test_a_relative_path_will_do(session: Session, prefixes: tuple[Path, Path]) -> None:
    if session.shell.script == "activate.nu":
        pytest.skip("nushell looks for the file before the script changes folders")
    session.change(prefixes[0].parent)
    session.activate("my env")
    session.dump()
    (inside,) = session.run()
    assert inside["CONDA_PREFIX"] == str(prefixes[0])


def test_the_scripts_are_the_same_in_every_prefix(channel: Path, prefix: Path) -> None:
    install(prefix, choose(str(channel)), line="3")
    installed = {path.name for path in prefix.iterdir() if path.is_file()} - {"CACHEDIR.TAG"}
    assert installed == {path.name for path in ACTIVATE.iterdir() if os.name == "nt" or path.suffix != ".bat"}
    for name in installed:
        assert (prefix / name).read_bytes() == (ACTIVATE / name).read_bytes()


@pytest.mark.parametrize("name", ["bash", "dash", "zsh"])
def test_a_venv_on_top_does_not_tear_it_down(name: str, channel: Path, prefix: Path, tmp_path: Path) -> None:
    """A venv's activate first calls ``deactivate nondestructive``, whosever function that is."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    install(prefix, choose(str(channel)), line="3")
    session = Session(SHELLS[name], tmp_path)
    session.activate(prefix)
    session.lines += ["deactivate nondestructive", "deactivate() { :; }"]
    session.dump()
    session.lines += ["prefect_env_deactivate"]
    session.dump()
    inside, after = session.run()
    assert inside["CONDA_PREFIX"] == str(prefix) and "CONDA_PREFIX" not in after


def test_dash_without_proc_asks_for_the_prefix(channel: Path, prefix: Path, tmp_path: Path) -> None:
    """What dash does on systems without /proc, shown with a script that comes through a pipe."""
    if not shutil.which("dash"):
        pytest.skip("dash is not installed")
    install(prefix, choose(str(channel)), line="3")
    text = (prefix / "activate").read_text()
    found = {}
    for name, env in (("lost", {}), ("told", {"PREFECT_ENV_PREFIX": str(prefix)})):
        code = f'{text}\necho "in $CONDA_PREFIX"'
        done = subprocess.run(
            ["dash"], input=code, env={**os.environ, **env}, capture_output=True, text=True, check=False
        )
        found[name] = done
    assert "set PREFECT_ENV_PREFIX" in found["lost"].stderr and found["lost"].returncode == 1
    assert found["told"].stdout == f"in {prefix}\n"


@pytest.mark.parametrize("suffix", [".ps1", ".bat"])
def test_windows_scripts_parse(suffix: str) -> None:
    grammar = pytest.importorskip("tree_sitter_powershell" if suffix == ".ps1" else "tree_sitter_batch")
    import tree_sitter

    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    scripts = [path for path in ACTIVATE.iterdir() if path.suffix == suffix]
    assert scripts
    for script in scripts:
        assert not parser.parse(script.read_bytes()).root_node.has_error, script.name
