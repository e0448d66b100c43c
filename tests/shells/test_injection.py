"""Hostile settings: nothing in a file runs, and nothing but the listed variables changes, in any shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_env import effective, state
from prefect_env.settings import printable
from shells import cases, runners
from shells.checks import change
from shells.fixtures import base_environment, certificates, make_prefix, starts
from shells.runners import SHELLS, Shell

CANARY = "canary"
PAYLOADS = [
    "$(touch canary)", "`touch canary`", "${IFS}$(touch${IFS}canary)", ";touch canary", "&touch canary",
    "&&touch canary", "|touch canary", "||touch canary", "\ntouch canary\n", "\rtouch canary", "\x00touch canary",
    "' ; touch canary ; '", '" ; touch canary ; "', "';touch canary;#", '";touch canary;#', "\\';touch canary;\\'",
    "%COMSPEC% /c touch canary", "%PATH%", "!touch canary", "!!", "!x!", "^&touch canary", "(touch canary)",
    "{touch,canary}", "<(touch canary)", ">canary", "2>canary", "$((1+1))", "$PATH", "${PATH}", "~root", "*", "?",
    "[a-z]*", "@(touch canary)", "$[touch canary]", "\x1b]0;x\x07", "é\u202e\u2028", "\xff\xfe", "a" * 8001,
    "b" * (1 << 20), "'", '"', "\\", "\\\\'", "#", " x ", "", "'\"'\"'", "$'\\x27'", "\"$(touch canary)\"",
    "export X=1", "set -e", "exit 7", "return 7", "(", ")", "end", "endif",
]  # fmt: skip
PLACES = (
    "HTTPS_PROXY=http://me:{}@proxy.corp:3128",
    "HTTP_PROXY=http://{}@h:1",
    "ALL_PROXY=http://{}:3128",
    "NO_PROXY=a.corp,{}",
    "PREFECT_API_URL=https://prefect.corp/{}",
    "CA_FILE={}",
    "TELEMETRY={}",
    "{}=x",
    "LD_PRELOAD={}",
    "PATH={}",
    "{}",
)
"""Where a payload stands in a settings file; together some 600 hostile values."""

Laid = tuple[Path, dict[str, str]]


def hostile(payload: str) -> bytes:
    """A settings file with the payload in every place."""
    return b"\n".join(place.format(payload).encode(errors="surrogateescape") for place in PLACES)


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> list[Laid]:
    """A prefix for each payload, with it in a settings file, in that file's name and in the name of a CA file.

    With each prefix comes what an activation may set: the actions that Python worked out.
    """
    place = tmp_path_factory.mktemp("hostile")
    made = certificates(place / "certificates")
    env = environment(place)
    found = []
    for number, payload in enumerate(PAYLOADS):
        prefix = make_prefix(place / str(number), roots=made.path("root"), websockets=16)
        site = prefix / "etc/prefect-env/site.d"
        (site / "10.conf").write_bytes(hostile(payload))
        name = payload.replace("/", "_").replace("\0", "_")[:50]
        (site / f"{name}.conf").write_bytes(b"TELEMETRY=off\nCA_FILE=" + os.fsencode(f"{name}.pem"))
        (site / f"{name}.pem").write_bytes(Path(made.path("corp")).read_bytes())
        own = {**env, "CONDA_PREFIX": str(prefix)}
        for form in cases.FORMS:
            state.write(form, own)
        actions = state.records(str(prefix), own, state.folder(str(prefix), own))[1]
        found.append((prefix, {name: value for kind, name, value in actions if kind == "set"}))
    return found


def environment(place: Path) -> dict[str, str]:
    return {**base_environment(place), "XDG_CACHE_HOME": str(place / "cache")}


def test_what_may_be_set(laid_out: list[Laid]) -> None:
    """The plan itself names nothing but the listed variables, without control characters; hostile files do set some."""
    allowed = {state.MARKER} | {prefix + name for name in effective.MANAGED for prefix in ("", state.OLD, state.SET)}
    assert all(wanted.keys() <= allowed for _, wanted in laid_out)
    assert all(printable(value) for _, wanted in laid_out for value in wanted.values())
    passwords = [wanted.get("WSS_PROXY", "") for _, wanted in laid_out]
    assert sum("canary" in value for value in passwords) > 10


@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
def test_nothing_runs(shell: Shell, laid_out: list[Laid], tmp_path: Path) -> None:
    """All payloads in one process of each shell: the environment is what was worked out, and no canary is there."""
    found = runners.program(shell)
    if found is None:
        pytest.skip(f"{shell.name} is not installed")
    if shell.name in ("xonsh", "nushell"):
        laid_out = laid_out[::3]  # some 200 of the values; these two take long
    etc = laid_out[0][0] / "etc" / "conda"
    start, stop = (
        shell.source.format(path=runners.script(shell, etc, folder)) for folder in ("activate.d", "deactivate.d")
    )
    code = [shell.dump.format(step="before")]
    for number, (prefix, _) in enumerate(laid_out):
        code += [shell.put.format(name="CONDA_PREFIX", value=prefix), start, shell.dump.format(step=number), stop]
    code += [shell.drop.format(name="CONDA_PREFIX"), shell.dump.format(step="after")]
    text = tmp_path / f"script.{shell.extension}"
    text.write_text("\n".join([*code, ""]))
    env = {**environment(laid_out[0][0].parent), "T_HERE": str(tmp_path), "T_ETC": str(etc)}
    command = [found, *shell.command[1:], str(text)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=250, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    before = runners.parse((tmp_path / "before").read_bytes())
    for number, (_, wanted) in enumerate(laid_out):
        active = change(before, runners.parse((tmp_path / str(number)).read_bytes()), ours=True)
        active.pop("CONDA_PREFIX", None)
        seen = {name for name in wanted if not (shell.one_case and name.replace(state.SET, "") in cases.TWINS)}
        assert active == {name: wanted[name] for name in seen}, f"payload {number}"
    assert change(before, runners.parse((tmp_path / "after").read_bytes()), ours=True) == {}
    assert not [path for path in tmp_path.rglob("*") if CANARY in path.name]
    assert sum(starts(prefix) for prefix, _ in laid_out) == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(
        st.one_of(
            st.builds(lambda place, text: place.format(text), st.sampled_from(PLACES), st.text(max_size=40)),
            st.text(max_size=60),
        ),
        max_size=8,
    )
)
@pytest.mark.parametrize("name", ["dash", "tcsh", "fish"])
def test_generated(name: str, content: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any text in a settings file: the shell ends with exactly what was worked out."""
    shell = SHELLS[name]
    found = runners.program(shell)
    if found is None:
        pytest.skip(f"{name} is not installed")
    place = tmp_path_factory.mktemp("any")
    prefix = make_prefix(place / "prefix", roots=os.devnull, websockets=16)
    (prefix / "etc/prefect-env/site.d/10.conf").write_bytes("\n".join(content).encode(errors="replace"))
    own = {**environment(place), "CONDA_PREFIX": str(prefix)}
    state.write(shell.form, own)
    actions = state.records(str(prefix), own, state.folder(str(prefix), own))[1]
    run = runners.run(shell, prefix, environment(place), place / "run", meanwhile={})
    assert change(run.steps[0], run.steps[1], ours=True) == {
        name: value for kind, name, value in actions if kind == "set"
    }
    assert run.steps[0] == run.steps[3]
