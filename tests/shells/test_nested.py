"""Two environments in one shell: nested and stacked, as conda does it, each with settings of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prefect_env import state
from shells import cases, runners
from shells.checks import change, folded
from shells.fixtures import base_environment, certificates, make_prefix, starts
from shells.runners import SHELLS, Shell

SITES = {
    "one": "HTTPS_PROXY=http://one.corp:1\nTELEMETRY=off",
    "two": "HTTPS_PROXY=http://two.corp:2\nPREFECT_API_URL=https://two.corp/api\nCA_FILE={corp}",
}
ORDERS = {
    "nested": ("on one", "off", "on two", "off", "on one", "off"),
    "stacked": ("on one", "on two", "off", "on one", "off"),
    "reactivated": ("on one", "off", "on one", "on two", "off"),
}
"""What conda runs for ``activate one; activate two; deactivate; deactivate``, without and with ``--stack``; after
``conda install`` in an active environment, and a stacked one left without a word of the first."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prefixes, ``one`` and ``two``, with fresh states."""
    place = tmp_path_factory.mktemp("nested")
    made = certificates(place / "certificates")
    for name, site in SITES.items():
        prefix = make_prefix(place / name, roots=made.path("root"), websockets=16)
        text = site.replace("{corp}", made.path("corp"))
        (prefix / "etc/prefect-env/site.d/10-site.conf").write_text(text)
        for form in cases.FORMS:
            state.write(form, {**environment(place), "CONDA_PREFIX": str(prefix)})
    return place


def environment(place: Path) -> dict[str, str]:
    own = {"DO_NOT_TRACK": "0", "XDG_CACHE_HOME": str(place / "cache"), "T_ETC": str(place / "one/etc/conda")}
    return {**base_environment(place), **own, "https_proxy": "", **{f"T_{name}": str(place / name) for name in SITES}}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
def test_two(shell: Shell, order: str, place: Path, tmp_path: Path) -> None:
    """Each activation sets what its own settings say and nothing of the other's; in the end all is as before."""
    found = runners.program(shell)
    if found is None:
        pytest.skip(f"{shell.name} is not installed")
    start, stop = (
        shell.source.format(path=runners.script(shell, place / "one/etc/conda", folder))
        for folder in ("activate.d", "deactivate.d")
    )
    code = [shell.dump.format(step="before")]
    for number, step in enumerate(ORDERS[order]):
        name = step.removeprefix("on ")
        code += [stop] if step == "off" else [shell.copy.format(name="CONDA_PREFIX", value=f"T_{name}"), start]
        code.append(shell.dump.format(step=number))
    script = tmp_path / f"script.{shell.extension}"
    script.write_text("\n".join([*code, ""]))
    env = {**environment(place), "T_HERE": str(tmp_path), "CONDA_PREFIX": str(place / "one")}
    done = subprocess.run(
        [found, *shell.command[1:], str(script)], env=env, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    before = runners.parse((tmp_path / "before").read_bytes())
    for number, step in enumerate(ORDERS[order]):
        dump = runners.parse((tmp_path / str(number)).read_bytes())
        changes = {name: value for name, value in change(before, dump).items() if name != "CONDA_PREFIX"}
        got = folded(changes)
        assert got.get("https_proxy") == {"on one": "http://one.corp:1", "on two": "http://two.corp:2"}.get(step), step
        assert got.get("PREFECT_SERVER_ANALYTICS_ENABLED") == ("false" if step == "on one" else None)
        assert got.get("PREFECT_API_URL") == ("https://two.corp/api" if step == "on two" else None)
        assert ("SSL_CERT_FILE" in got) == (step == "on two")
        assert changes or step == "off"
        assert step != "off" or changes == {}
    assert starts(place / "one") == starts(place / "two") == 0
