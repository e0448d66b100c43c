"""The command: choice of checks, formats, exit codes; and checks that look at more than a planted subject shows."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from click.testing import CliRunner, Result

from doctor.conftest import Subject, migrations, record
from maintain.revisions import DATA, document, wheels_of_lines
from prefect_env import revisions
from prefect_env.db.base import State
from prefect_env.db.postgres import Postgres
from prefect_env.doctor.checks import host as host_checks
from prefect_env.doctor.checks import telemetry
from prefect_env.doctor.command import doctor
from prefect_env.doctor.context import Options
from prefect_env.doctor.registry import Status, checks
from prefect_env.versions import Version, within


def call(subject: Subject, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr("prefect_env.doctor.host.live", lambda: subject.host)
    return CliRunner().invoke(doctor, list(arguments))


def test_a_sound_environment_is_one_line(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call(subject, monkeypatch, "--offline")
    assert done.exit_code == 0
    assert re.fullmatch(r"\d+ skip, \d+ ok\n", done.output)


def test_a_failure_exits_1_with_cause_and_fix(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.library("SQLite", "3.7.17")
    done = call(subject, monkeypatch, "--offline")
    assert done.exit_code == 1
    for words in ("fail", "3.24 is needed", "why: ", "fix: ", "1 fail"):
        assert words in done.output


def test_a_warning_exits_0(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.change(open_files=100)
    assert call(subject, monkeypatch, "--offline").exit_code == 0


def test_json_has_every_check(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(call(subject, monkeypatch, "--offline", "--json").output)
    assert [check["id"] for check in found] == list(checks())
    assert set(found[0]) == {"id", "title", "group", "status", "evidence", "cause", "fix", "fixable"}


def test_only_runs_what_is_named(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(call(subject, monkeypatch, "--only", "glibc", "--only", "kernel", "--json").output)
    assert [check["id"] for check in found] == ["glibc", "kernel"]


def test_list_names_every_check(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    output = call(subject, monkeypatch, "--list").output
    assert all(f"  {name} " in output for name in checks())


@pytest.mark.parametrize(
    "arguments", [("--only", "no-such-check"), ("--replay", "."), ("--no-such-option",), ("--fix", "--json")]
)
def test_wrong_usage_exits_2(subject: Subject, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert call(subject, monkeypatch, *arguments).exit_code == 2


def test_no_password_is_shown(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.env(PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql://u:hidden@db/prefect")
    for arguments in (("--all",), ("--json",)):
        assert "hidden" not in call(subject, monkeypatch, "--offline", *arguments).output


def test_offline_never_opens_a_socket(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    subject.env(PREFECT_API_URL="https://prefect.example/api")
    found = json.loads(call(subject, monkeypatch, "--offline", "--json").output)
    assert not [check for check in found if "a socket was opened" in check["evidence"]]


def test_a_service_in_a_home_folder_under_selinux(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.change(selinux="enforcing")
    subject.env(HOME=str(subject.root))
    monkeypatch.setattr(host_checks, "UNITS", subject.root)
    assert subject.report()["selinux"].status is Status.OK
    (subject.root / "prefect.service").write_text(f"[Service]\nExecStart={subject.prefix}/bin/prefect server start\n")
    assert "prefect.service" in subject.report()["selinux"].evidence


def test_byte_code_of_a_prefix_that_cannot_be_written(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert subject.report()["byte-code"].status is Status.WARN
    (subject.site / "prefect" / "__pycache__").mkdir()
    (subject.site / "prefect" / "__pycache__" / "a.pyc").write_bytes(b"")
    assert subject.report()["byte-code"].status is Status.OK


def test_names_that_prefect_reads_beside_its_settings_are_known(subject: Subject) -> None:
    subject.env(PREFECT_PROFILE="x", PREFECT_LOGGING_LOGGERS_PREFECT_LEVEL="DEBUG", PREFECT__FLOW_RUN_ID="1")
    assert subject.report()["settings-unknown"].status is Status.OK


def test_telemetry_that_cannot_get_out(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.options = Options()
    monkeypatch.setattr(telemetry, "_resolves", lambda _: False)
    found = subject.report()["telemetry"]
    assert found.status is Status.WARN
    assert "sens-o-matic.prefect.io" in found.evidence
    arguments = ["--only", "telemetry", "--fix"]
    monkeypatch.setattr("prefect_env.doctor.host.live", lambda: subject.host)
    assert CliRunner().invoke(doctor, arguments, input="y\n").exit_code == 0
    settings = subject.root / "home" / ".config" / "prefect-env" / "prefect-env.conf"
    assert settings.read_text() == "TELEMETRY=false\n"
    assert subject.report()["settings-active"].status is Status.WARN  # until the environment is activated
    subject.env(PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1")
    report = subject.report()
    assert report["telemetry"].status is report["settings-active"].status is Status.OK


@pytest.mark.parametrize(
    ("revision", "status", "words"),
    [
        ("91e2b8f3d6a4", Status.OK, "of Prefect 3.9.1"),
        ("b23c83a12cb4", Status.WARN, "of Prefect 2.20.26 to 2.20.27"),
        ("unheard-of", Status.FAIL, "does not know"),
        (None, Status.SKIP, "no tables yet"),
    ],
)
def test_a_postgresql_database_is_compared_too(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, revision: str | None, status: Status, words: str
) -> None:
    subject.options = Options()
    subject.env(PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql+asyncpg://prefect:secret@db.example/prefect")
    migrations(subject.site / "prefect", "3.9.1", "postgresql")
    monkeypatch.setattr(Postgres, "state", lambda _: State(revision, frozenset({"alembic_version"})))
    found = subject.report()["database-server"]
    assert (found.status, words in found.evidence) == (status, True)


def test_a_postgresql_server_that_does_not_answer(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.options = Options()
    subject.env(PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql+asyncpg://prefect:secret@127.0.0.1:1/prefect")
    found = subject.report()["database-server"]
    expected = Status.FAIL if shutil.which("psql") else Status.SKIP
    assert found.status is expected
    assert "secret" not in found.evidence


def test_versions_are_ordered_by_stage() -> None:
    names = [
        "2.0a9",
        "2.0a10",
        "2.0b6",
        "2.0rc1",
        "2.0.0",
        "2.8.6",
        "2.8.10",
        "2.20.26",
        "2.20.27",
        "3.0.0rc1",
        "3.0",
        "3.8.8",
        "3.9.1",
    ]
    assert sorted(map(Version, reversed(names))) == [Version(name) for name in names]
    assert Version("2.0") == "2.0.0" != Version("2.0b6")


@pytest.mark.parametrize(
    ("version", "specifiers", "kept"),
    [
        ("3.6.24", ">=3.6,<3.7", True),
        ("3.7.0rc1", ">=3.6,<3.7", False),  # it leads to 3.7
        ("3.6", "==3.6.*", True),
        ("3.60.1", "==3.6.*", False),
        ("2.8.6", "==2.8.6", True),
        ("2.9", "!=2.9,!=3.1", False),
        ("0.137.0", "<0.137", False),
        ("1.10", ">1.9,<=1.10.0", True),
    ],
)
def test_specifiers_are_kept_or_not(version: str, specifiers: str, kept: bool) -> None:
    assert within(Version(version), specifiers) is kept


@pytest.mark.parametrize(
    "packages",
    [
        {"prefect": "3.6.24", "fastapi": "0.136.3", "redis": "7.4.0"},
        {"prefect": "3.5.0", "fastapi": "0.131.0", "redis": "8.1.0"},  # 3.5 does not ask for redis
        {"prefect": "3.9.1", "fastapi": "0.150.0", "redis": "8.1.0", "pydantic": "2.14.4"},
        {"prefect": "3.6.24", "fastapi": "unknown"},
        {"prefect-client": "3.6.24", "fastapi": "0.141.1"},  # no server that fastapi could break
    ],
)
def test_pairs_that_work_are_not_blamed(subject: Subject, packages: dict[str, str]) -> None:
    subject.change(packages=packages)
    assert subject.report()["prefect-release"].status is Status.OK


def test_a_dead_pair_is_mended_by_what_installed_it(subject: Subject) -> None:
    subject.change(packages={"prefect": "3.6.24", "redis": "8.1.0"})
    assert subject.report()["prefect-release"].fix == "python -m pip install 'redis<8'"
    record(subject.prefix, "redis-py", "8.1.0", [])
    subject.change(packages={"prefect": "3.6.24", "redis": "8.1.0"})
    found = subject.report()["prefect-release"]
    assert found.fix == "conda install 'redis-py <8' (or: pixi add)"
    assert "times out" in found.cause


@pytest.mark.parametrize(
    ("revision", "writer"),
    [
        ("9725c1cbee35", "Prefect 2.0a10"),
        ("20fbd53b3cef", "Prefect 2.20.26 to 2.20.27"),
        ("14806cb26270", "Prefect 3.8.3"),
        ("a3b9c7d2e5f1", "Prefect 3.8.8"),
        ("27d8f4e1a6c9", "Prefect 3.9.1"),
        ("unheard-of", None),
    ],
)
def test_who_wrote_a_database(revision: str, writer: str | None) -> None:
    assert revisions.written_by("sqlite", revision) == writer


def test_a_revision_between_releases_is_placed() -> None:
    order, _ = revisions.table("sqlite")
    after = order[order.index("20fbd53b3cef") + 1]
    assert revisions.written_by("sqlite", after) == "a Prefect newer than 2.20.27 and before 3.0.0"


def test_the_table_of_revisions_is_that_of_the_lines() -> None:
    assert DATA.read_text(encoding="utf-8") == document(wheels_of_lines())
