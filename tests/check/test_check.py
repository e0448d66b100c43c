"""scripts/check: the repository passes, and whatever is changed in it is reported, with the command that mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintain import bounds
from maintain.check import __main__ as command
from maintain.check import drift, hosts, rules
from maintain.check.__main__ import findings
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import ROOT
from maintain.lock import lockfile
from maintain.lock.plan import Update
from maintain.lock.relock import relock
from support import tiny_channel
from support.commands import script
from support.tiny_channel import contents, record, restore, write_records


def reported(root: Path) -> list[str]:
    """The rules of what is reported; an error that ends the check counts as one."""
    try:
        return [finding.rule for finding in findings(root)]
    except ToolError as error:
        assert re.search(r":\d+", error.where or "") or not (root / "pixi.lock").exists()
        return [error.id]


def test_the_repository_passes() -> None:
    done = script("check", "--json", trouble=True)
    assert json.loads(done.stdout) == {"findings": []}


def test_a_locked_project_passes(project: Path) -> None:
    assert findings(project) == []


# --- random edits: each draws what it changes, and returns the files it changed --------------------------------------

Edit = Callable[[Path, st.DataObject], None]


def lock_document(root: Path) -> dict[str, object]:
    document: dict[str, object] = yaml.safe_load((root / "pixi.lock").read_text(encoding="utf-8"))
    return document


def edit_lock(change: Callable[[dict[str, object], st.DataObject], None]) -> Edit:
    """An edit of the lock file as data, written as YAML again."""

    def edit(root: Path, data: st.DataObject) -> None:
        document = lock_document(root)
        change(document, data)
        (root / "pixi.lock").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    edit.__name__ = change.__name__
    return edit


def drop_package(document: dict[str, object], data: st.DataObject) -> None:
    packages = data.draw(st.sampled_from(_lists(document)))
    packages.pop(data.draw(st.integers(0, len(packages) - 1)))


def drop_record(document: dict[str, object], data: st.DataObject) -> None:
    records = document["packages"]
    assert isinstance(records, list)
    records.pop(data.draw(st.integers(0, len(records) - 1)))


def wrong_hash(document: dict[str, object], data: st.DataObject) -> None:
    records = document["packages"]
    assert isinstance(records, list)
    entry = data.draw(st.sampled_from(records))
    kind = data.draw(st.sampled_from(["sha256", "md5"]))
    value = entry[kind]
    at = data.draw(st.integers(0, len(value) - 1))
    digit = data.draw(st.sampled_from([digit for digit in "0123456789abcdef" if digit != value[at]]))
    entry[kind] = value[:at] + digit + value[at + 1 :]


def lost_field(document: dict[str, object], data: st.DataObject) -> None:
    records = document["packages"]
    assert isinstance(records, list)
    entry = data.draw(st.sampled_from(records))
    del entry[data.draw(st.sampled_from([key for key in entry if key != "conda"]))]


def other_channels(document: dict[str, object], data: st.DataObject) -> None:
    environments = document["environments"]
    assert isinstance(environments, dict)
    channels = environments[data.draw(st.sampled_from(sorted(environments)))]["channels"]
    other = {"url": "https://conda.anaconda.org/bioconda/"}
    channels[:] = data.draw(st.sampled_from([[other, *channels], [*channels, other], [other], []]))


def changed_virtual_package(document: dict[str, object], data: st.DataObject) -> None:
    platforms = document["platforms"]
    assert isinstance(platforms, list)
    packages = data.draw(st.sampled_from(platforms))["virtual-packages"]
    at = data.draw(st.integers(0, len(packages) - 1))
    packages[at : at + 1] = data.draw(st.sampled_from([[], [packages[at] + "9"], [packages[at], "__cuda=12"]]))


def missing_platform(document: dict[str, object], data: st.DataObject) -> None:
    environments = document["environments"]
    assert isinstance(environments, dict)
    packages = environments[data.draw(st.sampled_from(sorted(environments)))]["packages"]
    del packages[data.draw(st.sampled_from(sorted(packages)))]


def missing_environment(document: dict[str, object], data: st.DataObject) -> None:
    environments = document["environments"]
    assert isinstance(environments, dict)
    del environments[data.draw(st.sampled_from(sorted(environments)))]


def solve_options(document: dict[str, object], data: st.DataObject) -> None:
    environments = document["environments"]
    assert isinstance(environments, dict)
    name = data.draw(st.sampled_from(sorted(environments)))
    environments[name]["options"] = data.draw(
        st.sampled_from([{"strategy": "lowest"}, {"channel-priority": "disabled"}])
    )


def version_outside_a_spec(root: Path, data: st.DataObject) -> None:
    name, inside, outside = data.draw(
        st.sampled_from([("prefect", "3.6.1", "4.6.1"), ("python", "3.13.1", "3.14.1"), ("openssl", "3.6.0", "2.6.0")])
    )
    path = root / "pixi.lock"
    text = path.read_text(encoding="utf-8")
    assert f"{name}-{inside}" in text
    path.write_text(text.replace(f"{name}-{inside}", f"{name}-{outside}"), encoding="utf-8")


def changed_byte(root: Path, data: st.DataObject) -> None:
    generated = [path for path in contents(root) if path == "pixi.lock" or path.startswith("envs/")]
    path = root / data.draw(st.sampled_from(sorted(generated)))
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
    path.write_bytes(raw[:at] + bytes([new]) + raw[at + 1 :])


def truncated(root: Path, data: st.DataObject) -> None:
    generated = [path for path in contents(root) if path == "pixi.lock" or path.startswith("envs/")]
    path = root / data.draw(st.sampled_from(sorted(generated)))
    raw = path.read_bytes()
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])


def file_gone_or_new(root: Path, data: st.DataObject) -> None:
    generated = sorted(path for path in contents(root) if path.startswith("envs/"))
    path = root / data.draw(st.sampled_from([*generated, "pixi.lock", "envs/new.txt"]))
    if path.exists():
        path.unlink()
    else:
        path.write_text("new\n", encoding="utf-8")


MANIFEST_EDITS = [
    ('prefect = ">=3.6,<4"', 'prefect = ">=3.7,<4"'),
    ('prefect = ">=3.6,<4"', 'prefect = ">=3.5,<4"'),
    ('python = ">=3.12,<3.14"', 'python = "3.12.*"'),
    ('native = "*"', 'native = "*"\nucrt = "*"'),
    ('native = "*"', 'native = { version = "*", build = "h2_*" }'),
    ('openssl = ">=3"\n', ""),
    ('glibc = "2.17"', 'glibc = "2.28"'),
    ('linux = "3.10"', 'linux = "4.18"'),
    (', "win-64"]', "]"),
    ('"win-64"]', '"win-64", "osx-64"]'),
    ("conda-forge", "bioconda"),
    ('["https://conda', '["https://conda.anaconda.org/bioconda", "https://conda'),
    ('default = ["prefect"]', 'default = ["prefect", "old"]'),
    ('old = ["old"]', 'old = { features = ["old"], no-default-feature = true }'),
    ('old = ["old"]', 'old = ["old"]\nnew = ["old"]'),
    ('old = ["old"]', 'elder = ["old"]'),
    ("Everything", "Something"),
    ('version = "1.2.3"', 'version = "1.2.4"'),
]


def edited_manifest(root: Path, data: st.DataObject) -> None:
    old, new = data.draw(st.sampled_from(MANIFEST_EDITS))
    text = (root / "pixi.toml").read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new, 1)
    if "elder" in new:
        text = text.replace('old = "Nothing', 'elder = "Nothing')
    (root / "pixi.toml").write_text(text, encoding="utf-8")


def edited_table(root: Path, data: st.DataObject) -> None:
    path = root / "README.md"
    lines = path.read_text(encoding="utf-8").splitlines()
    table = [at for at, line in enumerate(lines) if line.startswith("|")]
    at = data.draw(st.sampled_from([*table, table[0] - 1, table[-1] + 1]))  # rows and markers
    lines[at] = data.draw(st.sampled_from(["", lines[at][:-1], f"x{lines[at][3:]}"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lists(document: dict[str, object]) -> list[list[object]]:
    environments = document["environments"]
    assert isinstance(environments, dict)
    return [packages for item in environments.values() for packages in item["packages"].values()]


EDITS: list[Edit] = [
    *map(
        edit_lock,
        [
            drop_package,
            drop_record,
            wrong_hash,
            lost_field,
            other_channels,
            changed_virtual_package,
            missing_platform,
            missing_environment,
            solve_options,
        ],
    ),
    version_outside_a_spec,
    changed_byte,
    truncated,
    file_gone_or_new,
    edited_manifest,
    edited_table,
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_passes(project: Path, edit: Edit, data: st.DataObject) -> None:
    saved = contents(project)
    try:
        edit(project, data)
        assert contents(project) != saved
        assert reported(project)
    finally:
        restore(project, saved)


# --- single rules ----------------------------------------------------------------------------------------------------


def relocked(project: Path, tmp_path: Path, changed: dict[str, object], name: str) -> list[str]:
    """The rules that report a project locked from a channel where every record of ``name`` has ``changed``."""
    listed = [{**item, **changed} if item["name"] == name else item for item in tiny_channel.records()]
    listed = [{key: value for key, value in item.items() if value is not None} for item in listed]
    relock(project, write_records(tmp_path / "other", listed), Update(everything=True))
    return [finding.rule for finding in findings(project)]


@pytest.mark.parametrize(("licence", "rule"), [(None, "licences"), ("AGPL-3.0-only", "policy")])
def test_licences_are_there_and_allowed(project: Path, tmp_path: Path, licence: str | None, rule: str) -> None:
    assert rule in relocked(project, tmp_path, {"license": licence}, "openssl")


def test_a_newer_glibc_is_reported_even_if_the_manifest_asks_for_it(project: Path, records: Path) -> None:
    path = project / "pixi.toml"
    path.write_text(path.read_text().replace('glibc = "2.17"', 'glibc = "2.28"'))
    relock(project, records, Update(everything=True))
    found = [finding for finding in findings(project) if finding.rule == "glibc"]
    assert any("native 2.0" in finding.where for finding in found)
    assert any("__glibc=2.28" in finding.what for finding in found)


def test_sqlite_and_openssl_have_floors(project: Path, tmp_path: Path) -> None:
    listed = [item for item in tiny_channel.records() if item["name"] not in ("libsqlite", "sqlite", "python")]
    for subdir in ("linux-64", "win-64"):
        listed.append(record("libsqlite", "3.23.1", "h1_0", subdir, []))
        listed.append(record("sqlite", "3.24.0", "h1_0", subdir, ["libsqlite"]))
        listed.append(record("python", "3.12.1", "h1_0", subdir, []))
    relock(project, write_records(tmp_path / "old", listed), Update(everything=True))
    assert {finding.what for finding in findings(project) if finding.rule == "floors"} == {
        "libsqlite must be 3.24 or newer"
    }


def test_a_lock_that_is_no_solution_is_found_by_the_solver(project: Path) -> None:
    path = project / "pixi.lock"
    path.write_text(path.read_text().replace("libsqlite 3.53.0 h1_0", "libsqlite 3.99"))
    assert {"solution", "solves-again"} <= set(reported(project))


def test_a_constraint_of_another_package_counts(project: Path) -> None:
    path = project / "pixi.lock"
    path.write_text(path.read_text().replace("- prefect >=3.5", "- prefect >=99"))
    assert any("excludes prefect" in finding.what for finding in findings(project))


def test_a_drift_is_shown_as_a_diff_with_its_repair(project: Path) -> None:
    path = project / "envs" / "default" / "environment.yml"
    path.write_text(path.read_text().replace("prefect=3.6.1", "prefect=3.6.0"))
    finding = next(found for found in findings(project) if found.where == "envs/default/environment.yml")
    assert finding.fix == "scripts/lock"
    assert "-  - prefect=3.6.0\n+  - prefect=3.6.1" in finding.diff


def test_a_readme_without_markers_is_told_which_to_add(project: Path) -> None:
    (project / "README.md").write_text("# Tiny\n")
    finding = next(found for found in findings(project) if found.where == "README.md")
    assert "<!-- generated: platforms -->" in finding.what


def test_hosts_are_those_of_the_list(project: Path) -> None:
    unknown = "packages.unheard-of" + ".org"  # put together, for this file is checked as well
    (project / "notes.md").write_text(
        "See https://github.com/x, user@internal.net.lan, https://docs.example.org and 'config.network'.\n"
        f"But index-url = https://{unknown}/simple\n"
    )
    found = list(hosts.findings(project))
    assert [(item.where, item.what.split()[0]) for item in found] == [("notes.md:2", unknown)]


def test_without_pixi_policy_it_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert [finding.rule for finding in rules.policy(project)] == ["policy"]


def test_a_broken_policy_is_reported(project: Path) -> None:
    (project / "pixi-policy.toml").write_text("[licenses]\nallow = 3\n")
    assert "policy" in reported(project)


def test_stale_recipes_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "recipe" / "lines.toml"
    monkeypatch.setattr(drift, "stale_recipes", lambda: [(path, path.read_text(encoding="utf-8") + "more\n")])
    (finding,) = drift.recipes()
    assert (finding.where, "+more" in finding.diff) == ("recipe/lines.toml", True)


def test_the_command_prints_findings_and_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROOT", project)
    monkeypatch.setattr(drift, "recipes", lambda: iter(()))
    monkeypatch.setattr(drift, "lines", lambda manifest: iter(()))
    monkeypatch.setattr(drift, "rehearsals", lambda root, manifest, lock: iter(()))
    monkeypatch.setattr(bounds, "load", lambda folder: ())
    (project / "envs" / "index.json").write_text("{")
    done = CliRunner().invoke(command.cli, [])
    assert done.exit_code == Exit.CHECK_FAILED
    assert "fix: scripts/lock" in done.stdout
    report = json.loads(CliRunner().invoke(command.cli, ["--json"]).stdout)
    assert {finding["where"] for finding in report["findings"]} == {"envs/index.json", "pixi.lock"}
    (project / "pixi.toml").write_text("[workspace\n")
    broken = CliRunner().invoke(command.cli, ["--json"])
    assert broken.exit_code == Exit.USAGE
    assert json.loads(broken.stdout)["where"] == f"{project / 'pixi.toml'}:1"


def test_every_package_of_the_repository_is_checked() -> None:
    lock = lockfile.read(ROOT / "pixi.lock")
    assert sum(len(group) for group in lock.records.values()) > 1000
    assert list(rules.packages(lock)) == []
