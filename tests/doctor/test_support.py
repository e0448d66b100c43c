"""The support bundle has what helps and nothing that is secret, in whatever form it was written."""

from __future__ import annotations

import base64
import html
import io
import json
import stat
import zipfile
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doctor.conftest import Subject
from prefect_env.doctor import host as hosts
from prefect_env.doctor.support import bundle, support
from prefect_env.redact import Redactor, secrets_of

PROXY = "p@ss/w:rd#1 ü"
ENVIRONMENT = {
    "HTTPS_PROXY": f"http://alice:{quote(PROXY, safe='')}@proxy.example:3128",
    "WSS_PROXY": "http://alice:lit'eral$word@proxy.example:3128",
    "PREFECT_API_KEY": "pnu_Zx81kQw0000ABCDEFGH",
    "PREFECT_API_AUTH_STRING": "admin:Tr0ub4dor&3",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:db%2Bsecret@db.example/prefect",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Site-Token": "header-secret-77"}',
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "GITHUB_TOKEN": "ghp_0123456789abcdefghij",
    "PIP_INDEX_URL": "https://bob:index-secret@index.example/simple",
    "CONDA_CHANNEL_ALIAS": "https://conda.example/t/ch-anneltoken-9/get",
    "SITE_PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----\nMIIkeybody1234567890\n-----END PRIVATE KEY-----",
    "PLAIN_URL": "https://api.example/v1?user=x&api_key=query-secret-5",
    "OTHER": "https://:onlypassword9@x.example/",
}
SECRETS = [
    PROXY,
    "lit'eral$word",
    "pnu_Zx81kQw0000ABCDEFGH",
    "admin:Tr0ub4dor&3",
    "Tr0ub4dor&3",
    "db+secret",
    "header-secret-77",
    "wJalrXUtnFEMI/K7MDENG",
    "ghp_0123456789abcdefghij",
    "index-secret",
    "ch-anneltoken-9",
    "MIIkeybody1234567890",
    "query-secret-5",
    "onlypassword9",
    "other-profile-key",
    "prefect-toml-secret",
    "dotenv secret",
    "conf-secret!",
]
UNKNOWN = {
    "Authorization: Bearer never-seen-token-1": "never-seen-token-1",
    "authorization=Basic bmV2ZXI6c2Vlbg==": "bmV2ZXI6c2Vlbg==",
    "GET https://api.example/x?access_token=never-seen-2&page=1": "never-seen-2",
    "connecting to https://carol:never/seen@3@host.example/api": "never/seen@3",
    'body {"password": "never \\"seen\\" 4", "user": "x"}': 'never \\"seen\\" 4',
    "client_secret: never-seen-5": "never-seen-5",
    "key pnb_neverseen6neverseen": "pnb_neverseen6neverseen",
    "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "eyJzdWIiOiIxIn0",
    "redirect=https%3A%2F%2Fdave%3Anever-seen-7%40host.example": "never-seen-7",
}


def forms(secret: str) -> set[str]:
    """Ways to write ``secret``; those of less than four characters would be found anywhere."""
    raw = secret.encode()
    found = {secret, unquote(secret), quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    found |= {form.lower() for form in (quote(secret), quote(secret, safe=""))}
    found |= {
        quote(quote(secret, safe=""), safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    found |= {base64.b64encode(raw).decode(), repr(secret)[1:-1]}
    return found


@pytest.fixture
def host(subject: Subject) -> Subject:
    """A host full of secrets, with a log that has each of them in each form."""
    subject.env(**ENVIRONMENT)
    (subject.home / "profiles.toml").write_text(
        'active = "one"\n[profiles.one]\n[profiles.two]\nPREFECT_API_KEY = "other-profile-key"\n'
    )
    (subject.root / "prefect.toml").write_text('[api]\nauth_string = "root:prefect-toml-secret"\n')
    (subject.root / ".env").write_text("PREFECT_API_KEY='dotenv secret'\n")
    site = subject.prefix / "etc" / "prefect-env" / "site.d"
    site.mkdir(parents=True)
    (site / "site.conf").write_text("HTTP_PROXY=http://site:conf-secret%21@proxy.example:8080\nNO_PROXY=*.corp\n")
    lines = [f"line: {form}!" for secret in SECRETS for form in sorted(forms(secret))]
    (subject.home / "server.log").write_text("\n".join([*lines, *UNKNOWN, "the last line"]) + "\n")
    return subject


def texts(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_no_secret_is_in_the_bundle(host: Subject) -> None:
    for name, text in texts(bundle(host.context())).items():
        for secret in SECRETS:
            for form in forms(secret):
                assert form not in text, f"{secret!r} is in {name}"
        for secret in UNKNOWN.values():
            assert secret not in text, f"{secret!r} is in {name}"


def test_the_secrets_would_be_in_it_without_the_redactor(host: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redactor, "__call__", lambda _, text: text)
    log = texts(bundle(host.context()))["logs/01-server.log"]
    assert all(secret in log for secret in [*SECRETS[:-1], *UNKNOWN.values()])


def test_what_helps_is_still_there(host: Subject) -> None:
    found = texts(bundle(host.context()))
    report = {check["id"]: check for check in json.loads(found["report.json"])}
    assert report["no-proxy"]["status"] == "ok"
    assert report["database"]["evidence"].startswith("postgresql, postgresql+asyncpg://***@db.example/prefect")
    assert "the last line" in found["logs/01-server.log"]
    assert "proxy.example:3128" in found["host/env"]
    assert "AWS_SECRET_ACCESS_KEY=" in found["host/env"]
    assert json.loads(found["settings.json"])["prefect"]["PREFECT_API_KEY"] == ["***", "environment"]
    assert "prefect 3.9.1" in found["versions.txt"]


def test_the_recorded_host_can_be_replayed(subject: Subject, tmp_path: Path) -> None:
    for name, text in texts(bundle(subject.context())).items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    replayed = hosts.replay(tmp_path / "out" / "host")
    assert replayed == subject.host.__class__(**{**subject.host.__dict__, "live": False, "env": dict(subject.host.env)})


def test_the_command_writes_a_file_for_its_owner_only(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefect_env.doctor.host.live", lambda: subject.host)
    target = tmp_path / "bundle.zip"
    done = CliRunner().invoke(support, ["--offline", "--output", str(target), "--log", __file__])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "test_support.py" in " ".join(texts(target.read_bytes()))


def test_a_log_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(support, ["--log", str(tmp_path / "none.log")])
    assert done.exit_code == 2


def test_only_the_end_of_a_long_log_is_taken(subject: Subject) -> None:
    (subject.home / "server.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
    log = texts(bundle(subject.context()))["logs/01-server.log"].splitlines()
    assert (log[0], log[-1]) == ("line 99800", "line 99999")


@example("000%00")
@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=4, max_size=24).filter(
        lambda text: text.strip() == text
    )
)
def test_any_password_of_a_proxy_is_taken_out(password: str) -> None:
    redact = Redactor(secrets_of({"HTTPS_PROXY": f"http://user:{quote(password, safe='')}@proxy.example:3128"}))
    written = [form for form in forms(password) if len(form) >= 4]
    text = redact("\n".join(f"before {form} after" for form in written))
    assert text.splitlines() == ["before *** after"] * len(written)


@pytest.mark.timeout(100)  # a pattern that tries everything twice takes minutes for these
@pytest.mark.parametrize(
    "part", ["http://", 'token\\":\\"', "token", "_-", "-----BEGIN PRIVATE KEY-----", "a", "password='"]
)
def test_a_long_line_does_not_stall_it(part: str) -> None:
    end = "password=the-secret-at-the-end"
    assert "the-secret" not in Redactor(["known-secret"])(part * (200_000 // len(part)) + "\n" + end)
