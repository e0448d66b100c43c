"""cmd.exe, as wine has it, through the table of cases; PowerShell, which cannot be had, by its grammar and its twin."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
import tree_sitter_batch
import tree_sitter_powershell
from rattler.platform import Subdir
from rattler.shell import ActivationVariables, activate
from rattler.shell import Shell as Kind
from tree_sitter import Language, Node, Parser

from maintain.lib.paths import RUNTIME
from prefect_env import effective, state
from shells import cases, wine
from shells.fixtures import starts
from shells.runners import NAME
from shells.wine_python import windows

ROWS = [row for row in cases.rows() if not row.get("posix")]
CASES = [row["name"] for row in ROWS]
PROXIES = {name.upper() for name in cases.TWINS}
SCRIPTS = [RUNTIME / folder / NAME for folder in ("activate.d", "deactivate.d")]

WINE_ON_QUOTES = ("Syntax error", "Can't recognize 'else '")
"""wine stumbles over a quote in a delayed expansion, where cmd.exe has parsed the line already; the result is right."""

STEPS = r"""
@echo off
{env}
set > "{here}\0"
{activate}
if not "%ERRORLEVEL%"=="0" echo activation left ERRORLEVEL %ERRORLEVEL%
set > "{here}\1"
call "{prefix}\etc\conda\activate.d\{name}.bat"
set > "{here}\2"
{changes}
call "{prefix}\etc\conda\deactivate.d\{name}.bat"
if not "%ERRORLEVEL%"=="0" echo deactivation left ERRORLEVEL %ERRORLEVEL%
set > "{here}\3"
"""


def environment(case: cases.Case) -> dict[str, str]:
    """The variables of a case, with paths as wine has them."""
    env = {
        "CONDA_PREFIX": str(case.prefix),
        "PREFECT_ENV_CACHE": str(case.place / "cache dir"),
        "APPDATA": str(case.place / "home/.config"),
        "PREFECT_ENV_PROJECT": str(case.place / "project"),
        **{name: case.text(value) for name, value in case.row.get("env", {}).items()},
    }
    return {name: windows(value) for name, value in env.items()}


def generated(prefix: Path) -> str:
    """The script that rattler makes for activating ``prefix``, but for ``chcp``, which wine cannot do."""
    script = activate(prefix, ActivationVariables(None, []), Kind.cmd_exe, Subdir("win-64")).script
    lines = script.replace(str(prefix), windows(str(prefix))).splitlines()
    return "\n".join(line for line in lines if not line.startswith("@chcp"))


def steps(case: cases.Case) -> Path:
    """The batch file for one case, which writes the environment down at each step; rattler's script activates."""
    here = case.place / "run"
    here.mkdir()
    meanwhile = case.row.get("meanwhile", {}).items()
    text = STEPS.format(
        name=NAME,
        here=windows(str(here)),
        prefix=windows(str(case.prefix)),
        activate=generated(case.prefix),
        env="\n".join(f'set "{name}={value}"' for name, value in environment(case).items()),
        changes="\n".join(f'set "{name}={"" if value == "-" else value}"' for name, value in meanwhile),
    )
    file = here / "steps.bat"
    wine.write(file, text.strip().splitlines())
    return file


@dataclass(frozen=True)
class Ran:
    """A case, the environments (managed names and ours only) at its four steps, and what was said on each stream."""

    case: cases.Case
    environments: list[dict[str, str]]
    said: str


@pytest.fixture(scope="session")
def in_cmd(wine_starts: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """All cases in one cmd.exe."""
    place = tmp_path_factory.mktemp("cmd")
    laid_out = [
        cases.lay_out(row, place / str(number), prepare=False, name="pre fix/it's (x86)")
        for number, row in enumerate(ROWS)
    ]
    wine.prepare(("oem", environment(case)) for case in laid_out)
    wine.write(place / "all.bat", (f'@echo @@\r\n@cmd /c "{windows(str(steps(case)))}"' for case in laid_out))
    said = wine.run(place / "all.bat").split("@@")[1:]
    assert len(said) == len(laid_out), said
    return {
        case.row["name"]: Ran(case, dumps(case.place / "run"), said[number]) for number, case in enumerate(laid_out)
    }


def dumps(here: Path) -> list[dict[str, str]]:
    """What ``set`` wrote down at each step."""
    ours = (*effective.MANAGED, state.MARKER)
    found = (wine.dump(here / str(step)) for step in range(4))
    return [{name: value for name, value in env.items() if name.startswith(ours)} for env in found]


@pytest.mark.parametrize("name", CASES)
def test_cmd(name: str, in_cmd: dict[str, Ran]) -> None:
    """The table of cases in cmd.exe; the state is fresh, so Python is not started."""
    ran = in_cmd[name]
    case, (before, active, again, after) = ran.case, ran.environments
    wanted = {name.upper(): value if value is None else windows(value) for name, value in case.activated().items()}
    changed = {name for name in before.keys() | active.keys() if active.get(name) != before.get(name)}
    visible = {name: active.get(name) for name in changed if not name.startswith("__PREFECT_ENV")}
    assert visible == {name: value for name, value in wanted.items() if value != before.get(name)}
    assert again == active
    assert starts(case.prefix) == 0
    differs = {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert differs == case.deactivated()
    expected = case.row.get("says")
    said = [line for line in ran.said.splitlines() if not line.startswith(WINE_ON_QUOTES) and line]
    assert any(expected in line for line in said) if expected else said == []


@pytest.mark.parametrize("change", ["user", "file", "none"])
def test_stale(change: str, wine_starts: None, tmp_path: Path) -> None:
    """Another variable, another date or a new file: Python is started.

    wine does not wait for a Unix program, so what that would set cannot be seen here.
    """
    case = cases.lay_out({"site": "TELEMETRY=off"}, tmp_path / "case", prepare=False, name="pre fix/it's (x86)")
    wine.prepare([("oem", environment(case))])
    python = case.prefix / "python.exe"
    python.write_text('#!/bin/sh\necho start >> "${0%/*}/starts"\n')
    python.chmod(0o755)
    if change == "file":
        site = case.prefix / "etc/prefect-env/site.d/10-site.conf"
        site.write_text(site.read_text() + "# longer\n")
    elif change == "none":
        (case.place / "project/prefect-env.conf").touch()
    said = wine.run(steps(case), {"DO_NOT_TRACK": "0"} if change == "user" else {})
    deadline = time.monotonic() + 20
    while starts(case.prefix) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert starts(case.prefix) > 0, said


OPENSSL = (
    '@if not defined SSL_CERT_FILE set "__CONDA_OPENSSL_CERT_FILE_SET=1"',
    '@if "%__CONDA_OPENSSL_CERT_FILE_SET%"=="1" set "SSL_CERT_FILE=openssl\'s own"',
    '@if "%__CONDA_OPENSSL_CERT_FILE_SET%"=="1" set "SSL_CERT_FILE="',
    '@set "__CONDA_OPENSSL_CERT_FILE_SET="',
)
"""What openssl_activate-win.bat and openssl_deactivate-win.bat of conda-forge do, two lines each."""


@pytest.mark.parametrize("site", ["CA_FILE={corp}", "TELEMETRY=off"])
def test_beside_openssl(site: str, wine_starts: None, tmp_path: Path) -> None:
    """conda deactivates in descending order, rattler in ascending: both leave nothing; our bundle comes first."""
    case = cases.lay_out({"site": site}, tmp_path / "case", prepare=False, name="pre fix")
    variables = environment(case)
    wine.prepare([("oem", variables)])
    wine.write(tmp_path / "openssl-on.bat", OPENSSL[:2])
    wine.write(tmp_path / "openssl-off.bat", OPENSSL[2:])
    lines = ["@echo off", *(f'set "{name}={value}"' for name, value in variables.items()), "set > before.txt"]
    on, off = (f'call "{windows(str(script))}.bat"' for script in SCRIPTS)
    for order in ([off, "call openssl-off.bat"], ["call openssl-off.bat", off]):
        lines += [on, "call openssl-on.bat", "set > active.txt", *order, "set >> after.txt"]
    wine.write(tmp_path / "all.bat", lines)
    assert wine.run(tmp_path / "all.bat") == ""
    own = "openssl's own" if case.bundle is None else windows(str(case.bundle))
    assert wine.dump(tmp_path / "active.txt")["SSL_CERT_FILE"] == own
    assert (tmp_path / "after.txt").read_text() == (tmp_path / "before.txt").read_text() * 2


def errors(node: Node) -> list[str]:
    """Where a grammar could not follow the text."""
    here = [f"line {node.start_point[0] + 1}"] if node.is_error or node.is_missing else []
    return here + [line for child in node.children for line in errors(child)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("language", ["bat", "ps1"])
def test_grammar(language: str, script: Path) -> None:
    """Every statement of the scripts that run on Windows is one by the language's grammar."""
    grammar = tree_sitter_batch.language() if language == "bat" else tree_sitter_powershell.language()
    tree = Parser(Language(grammar)).parse(script.with_suffix(f".{language}").read_bytes())
    assert errors(tree.root_node) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_line_ends(script: Path) -> None:
    """CRLF in what Windows reads, LF in the others."""
    for path in script.parent.iterdir():
        content = path.read_bytes()
        crlf = path.suffix in (".bat", ".ps1")
        assert content.count(b"\r\n") == (content.count(b"\n") if crlf else 0), path.name


def test_same_names_everywhere() -> None:
    """Every script that lists the variables lists those of prefect_env, in each shell."""
    for suffix in (".sh", ".fish", ".csh", ".ps1", ".bat"):
        text = SCRIPTS[1].with_suffix(suffix).read_text()
        listed = set(re.findall(r"\b(?!__)[A-Za-z_]{4,}\b", text))
        wanted = {name for name in effective.MANAGED if suffix != ".bat" or not name.islower()}
        assert wanted <= listed, suffix


def test_twins() -> None:
    """PowerShell's script takes cmd's steps in the same order: the same records, conditions and actions."""
    order = re.compile(r"state\.(?:%__pe_form%|data)|prefect_env\.state|[\"'](?:user|file|none|set|unset|warn)[\"']")
    bat, ps1 = (order.findall(SCRIPTS[0].with_suffix(suffix).read_text()) for suffix in (".bat", ".ps1"))
    steps = [word for word, _ in groupby(word.strip("\"'").replace("%__pe_form%", "data") for word in bat)]
    assert steps == [word.strip("\"'") for word in ps1]


def test_names_sort_before_openssl() -> None:
    """On Windows openssl's script must find SSL_CERT_FILE set by ours."""
    names = sorted([NAME, "openssl_activate-win", "prefect"])
    assert names[0] == NAME
