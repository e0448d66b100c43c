"""Hostile settings: nothing in a file runs, and nothing but the listed variables changes, in any shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_env import effective, state
from prefect_env.settings import printable
from shells import cases, hostile, runners
from shells.checks import change
from shells.fixtures import base_environment, make_prefix, starts
from shells.hostile import PLACES, Hostile
from shells.runners import SHELLS, Shell

Laid = tuple[Hostile, dict[str, str]]
PLACED = ("CONDA_PREFIX", "XDG_CONFIG_HOME", "PREFECT_ENV_PROJECT")


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> list[Laid]:
    """Every payload laid out, each with what its activation may set: the actions that Python worked out."""
    place = tmp_path_factory.mktemp("hostile")
    found = []
    for one in hostile.lay_out(hostile.PAYLOADS, place, hostile.LINUX):
        own = {**environment(place), **placed(one)}
        for form in cases.FORMS:
            state.write(form, own)
        prefix = own["CONDA_PREFIX"]
        actions = state.records(prefix, own, state.folder(prefix, own))[1]
        found.append((one, {name: value for kind, name, value in actions if kind == "set"}))
    return found


def placed(one: Hostile) -> dict[str, str]:
    return dict(zip(PLACED, map(str, (one.prefix, one.config, one.project)), strict=True))


def environment(place: Path) -> dict[str, str]:
    return {**base_environment(place), "XDG_CACHE_HOME": str(place / "cache")}


def test_what_may_be_set(laid_out: list[Laid]) -> None:
    """The plan itself names nothing but the listed variables, without control characters; hostile files do set some."""
    allowed = {state.MARKER} | {prefix + name for name in effective.MANAGED for prefix in ("", state.OLD, state.SET)}
    assert all(wanted.keys() <= allowed for _, wanted in laid_out)
    assert all(printable(value) for _, wanted in laid_out for value in wanted.values())
    proxies = {one.payload: urlsplit(wanted.get("HTTPS_PROXY", "")) for one, wanted in laid_out}
    taken = {payload: unquote(url.password or "") for payload, url in proxies.items() if url.username == "me"}
    assert sum(hostile.CANARY in value for value in taken.values()) > 10
    assert taken == {payload: unquote(payload) for payload in taken}, "a password is not the one that was written"


@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
def test_nothing_runs(shell: Shell, laid_out: list[Laid], tmp_path: Path) -> None:
    """All payloads in one process of each shell: the environment is what was worked out, and no canary is there."""
    found = runners.program(shell)
    if found is None:
        pytest.skip(f"{shell.name} is not installed")
    if shell.name in ("xonsh", "nushell"):
        laid_out = laid_out[::3]  # some 370 of the values; these two take long
    etc = laid_out[0][0].prefix / "etc" / "conda"
    start, stop = (
        shell.source.format(path=runners.script(shell, etc, folder)) for folder in ("activate.d", "deactivate.d")
    )
    env = {**environment(laid_out[0][0].prefix.parent), "T_HERE": str(tmp_path), "T_ETC": str(etc)}
    code = [shell.dump.format(step="before")]
    for number, (one, _) in enumerate(laid_out):
        for name, value in placed(one).items():
            env[f"T_{number}_{name}"] = value
            code.append(shell.copy.format(name=name, value=f"T_{number}_{name}"))
        code += [start, shell.dump.format(step=number), stop]
    code += [*(shell.drop.format(name=name) for name in PLACED), shell.dump.format(step="after")]
    text = tmp_path / f"script.{shell.extension}"
    text.write_text("\n".join([*code, ""]))
    command = [found, *shell.command[1:], str(text)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=250, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    before = runners.parse((tmp_path / "before").read_bytes())
    for number, (_, wanted) in enumerate(laid_out):
        active = change(before, runners.parse((tmp_path / str(number)).read_bytes()), ours=True)
        for name in PLACED:
            active.pop(name)
        seen = {name for name in wanted if not (shell.one_case and name.replace(state.SET, "") in cases.TWINS)}
        assert active == {name: wanted[name] for name in seen}, f"payload {number}"
    assert change(before, runners.parse((tmp_path / "after").read_bytes()), ours=True) == {}
    assert not [path for path in tmp_path.rglob("*") if hostile.CANARY in path.name]
    assert sum(starts(one.prefix) for one, _ in laid_out) == 0


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
