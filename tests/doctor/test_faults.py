"""Every planted fault is found by its check, and by no other; a host in order has none."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from doctor.conftest import Subject, dist_info, migrations, record
from prefect_env import revisions
from prefect_env.doctor.command import doctor
from prefect_env.doctor.registry import Needs, Result, Status, checks

HEADS = revisions.table("sqlite")[1]


@dataclass(frozen=True)
class Fault:
    """``plant`` breaks a subject; the check ``id`` must say ``words`` with ``status``, and ``also`` may speak up."""

    id: str
    status: Status
    words: str
    plant: Callable[[Subject], object]
    also: tuple[str, ...] = ()


def missing_prefect(subject: Subject) -> None:
    subject.change(packages={})


def damaged_prefect(subject: Subject) -> None:
    (subject.site / "prefect" / "__init__.py").unlink()


def second_prefect(subject: Subject) -> None:
    dist_info(subject.site, "prefect", "3.1.0")
    record(subject.prefix, "prefect", "3.9.1", ["site"])


def prefect_and_client(subject: Subject) -> None:
    dist_info(subject.site, "prefect-client", "3.9.1")
    record(subject.prefix, "prefect", "3.9.1", ["site"])


def broken_import(subject: Subject) -> None:
    python = subject.prefix / "bin" / "python"
    python.write_text("#!/bin/sh\necho \"ImportError: cannot import name 'SecretField' from 'pydantic'\" >&2\nexit 1\n")
    record(subject.prefix, "python", "3.11.9", ["bin"])


def old_sqlite(subject: Subject) -> None:
    subject.library("SQLite", "3.7.17")


def sqlite_below_the_real_floor(subject: Subject) -> None:
    subject.version("3.0.3")
    subject.library("SQLite", "3.26.0")
    subject.database(HEADS["3.0.3"], name="other.db")
    set_database(subject, f"sqlite+aiosqlite:///{subject.home}/other.db")


def set_database(subject: Subject, url: str) -> None:
    subject.env(PREFECT_SERVER_DATABASE_CONNECTION_URL=url)


def strict_quotes(subject: Subject) -> None:
    subject.version("2.20.26")
    subject.database(HEADS["2.20.26"], name="other.db")
    subject.env(PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{subject.home}/other.db")
    (subject.site / "prefect" / "settings.py").write_text(
        "PREFECT_API_DATABASE_CONNECTION_URL = Setting(str)\nPREFECT_HOME = Setting(str)\n"
    )
    shutil.rmtree(subject.site / "prefect" / "settings")
    record(subject.prefix, "prefect", "2.20.26", ["site"])
    subject.change(double_quoted=False)


def system_sqlite(subject: Subject) -> None:
    subject.library("SQLite", "3.39.2", "/usr/local/lib/libsqlite3.so.0")
    subject.env(LD_LIBRARY_PATH="/usr/local/lib")


def wrong_package(subject: Subject) -> None:
    path = next(subject.prefix.glob("conda-meta/libsqlite-*.json"))
    path.write_text(path.read_text().replace("3.50.4", "3.49.1"))
    path.rename(path.with_name("libsqlite-3.49.1-0.json"))


def damaged_record(subject: Subject) -> None:
    next(subject.prefix.glob("conda-meta/libsqlite-*.json")).write_text("{")


def pixi_lock(subject: Subject) -> None:
    (subject.prefix / "conda-meta" / "pixi").write_text(
        json.dumps({"manifest_path": str(subject.root / "pixi.toml"), "environment_name": "default"})
    )
    names = [
        "linux-64/python-3.11.9-0",
        "linux-64/libsqlite-3.50.4-0",
        "noarch/prefect-3.9.1-0",
        "noarch/rich-15.0.0-0",
    ]
    packages = [{"conda": f"https://conda.anaconda.org/conda-forge/{name}.conda"} for name in names]
    platforms = {"linux-64-cuda": packages[3:], "linux-64-glibc-2-17": packages, "win-64": packages[:1]}
    lock = {
        "version": 7,
        "platforms": [{"name": name, "subdir": "linux-64"} for name in list(platforms)[:2]] + [{"name": "win-64"}],
        "environments": {"default": {"packages": platforms}},
    }
    (subject.root / "pixi.lock").write_text(json.dumps(lock))  # which is YAML, too


def ca(subject: Subject, days: int, name: str = "site-ca.pem") -> Path:
    """The site's CA file, which ends ``days`` from now."""
    authority = trustme.CA(organization_name="Example") if days > 30 else _short_lived(days)
    path = subject.root / name
    path.write_bytes(authority if isinstance(authority, bytes) else authority.cert_pem.bytes())
    return path


def _short_lived(days: int) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Example CA")])
    end = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=400))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def trusted(subject: Subject, path: Path) -> None:
    subject.env(SSL_CERT_FILE=str(path), PREFECT_API_SSL_CERT_FILE=str(path))


def proxied(subject: Subject, url: str = "http://proxy.example:3128", **more: str) -> None:
    names = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "localhost,127.0.0.1,::1"}
    both = {**names, **{name.lower(): value for name, value in names.items()}}
    subject.env(**{**both, **more})


def no_proxy(subject: Subject, entry: str, loopback: str = "localhost,127.0.0.1") -> None:
    value = f"{loopback},{entry}".strip(",")
    proxied(subject, NO_PROXY=value, no_proxy=value)


def only_all_proxy(subject: Subject) -> None:
    subject.env(
        ALL_PROXY="http://proxy.example:3128",
        NO_PROXY="localhost,127.0.0.1",
        PREFECT_API_URL="https://prefect.example/api",
    )


def settings_file(subject: Subject, text: str) -> None:
    folder = subject.prefix / "etc" / "prefect-env" / "site.d"
    folder.mkdir(parents=True)
    (folder / "10-site.conf").write_text(text)


def older_prefect(subject: Subject, version: str) -> None:
    """Another release at work on a database of its own."""
    subject.version(version)
    subject.database(HEADS[version], name="other.db")
    set_database(subject, f"sqlite+aiosqlite:///{subject.home}/other.db")


def ca_unknown_to_websockets(subject: Subject) -> None:
    older_prefect(subject, "3.0.3")
    subject.env(PREFECT_API_SSL_CERT_FILE=str(ca(subject, 300)))


def proxy_unknown_to_websockets(subject: Subject) -> None:
    older_prefect(subject, "3.0.3")
    proxied(subject)


def damaged_database(subject: Subject) -> None:
    file = subject.home / "prefect.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE big (text TEXT)")
        connection.executemany("INSERT INTO big VALUES (?)", [("x" * 900,)] * 200)
    connection.close()
    data = bytearray(file.read_bytes())
    data[-40 * 4096 : -4096] = os.urandom(39 * 4096)
    file.write_bytes(data)


def left_by_alpha(subject: Subject) -> None:
    (subject.home / "prefect.db").unlink()
    subject.database(None, ("flow", "flow_run", "task_run"))


def newer_database(subject: Subject) -> None:
    subject.version("3.8.3")


def older_database(subject: Subject) -> None:
    (subject.home / "prefect.db").unlink()
    subject.database(HEADS["2.8.6"])


def ignored_orion(subject: Subject) -> None:
    (subject.home / "prefect.db").rename(subject.home / "orion.db")


def two_databases(subject: Subject) -> None:
    shutil.copy(subject.home / "prefect.db", subject.home / "orion.db")


def long_log(subject: Subject) -> None:
    with (subject.home / "prefect.db-wal").open("wb") as stream:
        stream.truncate(101 << 20)


def shared_home(subject: Subject) -> None:
    other = subject.prefix.parent / "old"
    (other / "conda-meta").mkdir(parents=True)
    site = other / "lib" / "python3.11" / "site-packages"
    dist_info(site, "prefect", "2.20.26")
    migrations(site / "prefect", "2.20.26")


def user_packages(subject: Subject) -> None:
    folder = subject.root / "local"
    dist_info(folder, "pydantic", "1.10.2")
    subject.change(user_site=str(folder), search=(*subject.host.search, str(folder)))


def other_python(subject: Subject) -> None:
    folder = subject.root / "bin"
    folder.mkdir()
    (folder / "prefect").write_text("")
    subject.env(PATH=f"{folder}:{subject.host.env['PATH']}")


def missing_file(subject: Subject) -> None:
    (subject.prefix / "lib" / "libsqlite3.so").unlink()


def altered_file(subject: Subject) -> None:
    (subject.site / "prefect" / "client" / "constants.py").write_text('SERVER_API_VERSION = "0.8.5"\n')


def pair(subject: Subject, prefect: str, **others: str) -> None:
    """A Prefect beside other packages, as a host's record has them."""
    subject.change(packages={"prefect": prefect, **others})


OK, WARN, FAIL = Status.OK, Status.WARN, Status.FAIL

FAULTS = [
    Fault("prefect", FAIL, "no Prefect in", missing_prefect),
    Fault("prefect", FAIL, "has no module", damaged_prefect, ("files",)),
    Fault("prefect-release", FAIL, "Prefect 2.7.11", lambda s: s.change(packages={"prefect": "2.7.11"})),
    Fault(
        "prefect-release", FAIL, "fastapi 0.141.1 with Prefect 3.6.24", lambda s: pair(s, "3.6.24", fastapi="0.141.1")
    ),
    Fault("prefect-release", FAIL, "fastapi 0.135.3 with Prefect 3.5.0", lambda s: pair(s, "3.5.0", fastapi="0.135.3")),
    Fault("prefect-release", FAIL, "redis 8.1.0 with Prefect 3.6.24", lambda s: pair(s, "3.6.24", redis="8.1.0")),
    Fault("prefect-release", FAIL, "pydantic 2.14.4 with Prefect 2.8.6", lambda s: pair(s, "2.8.6", pydantic="2.14.4")),
    Fault("prefect-single", FAIL, "prefect 3.1.0, prefect 3.9.1", second_prefect),
    Fault("prefect-single", FAIL, "prefect-client 3.9.1", prefect_and_client),
    Fault("prefect-import", FAIL, "SecretField", broken_import),
    Fault("sqlite", FAIL, "3.24 is needed", old_sqlite),
    Fault("sqlite", FAIL, "3.33 is needed", sqlite_below_the_real_floor),
    Fault("sqlite-quotes", FAIL, "DQS=0", strict_quotes),
    Fault("openssl", FAIL, "OpenSSL 1.1.1", lambda s: s.library("OpenSSL", "1.1.1")),
    Fault("openssl", WARN, "FIPS", lambda s: s.change(fips=True)),
    Fault("libraries-origin", FAIL, "SQLite is loaded from /usr/local", system_sqlite, ("library-path",)),
    Fault("lock", FAIL, "missing: libsqlite-3.50.4-0", wrong_package),
    Fault("lock", FAIL, "damaged in conda-meta: libsqlite", damaged_record),
    Fault("lock", FAIL, "missing: rich-15.0.0-0", pixi_lock),
    Fault("files", FAIL, "libsqlite (lib/libsqlite3.so)", missing_file),
    Fault("altered", FAIL, "constants.py", altered_file),
    Fault("intruders", WARN, "pandas 2.3.0", lambda s: s.package("pandas", "2.3.0")),
    Fault("requirements", FAIL, "requires websockets<17,>=15, not 17.4", lambda s: retag(s, "websockets", "17.4")),
    Fault(
        "requirements",
        FAIL,
        "pandas requires numpy, which is missing",
        lambda s: s.package("pandas", "2.3.0", Requires_Dist="numpy>=1"),
        ("intruders",),
    ),
    Fault("user-site", WARN, "with 1 packages", user_packages),
    Fault("python-variables", WARN, "PYTHONPATH is /opt/x", lambda s: s.env(PYTHONPATH="/opt/x")),
    Fault("python-variables", FAIL, "PYTHONHOME is /usr", lambda s: s.env(PYTHONHOME="/usr")),
    Fault("library-path", WARN, "/usr/local/lib", lambda s: s.env(LD_LIBRARY_PATH="/usr/local/lib")),
    Fault("path-order", WARN, "bin/prefect comes before", other_python),
    Fault("path-order", WARN, "PATH has no folder", lambda s: s.env(PATH="/usr/bin")),
    Fault("active-environment", WARN, "CONDA_PREFIX is /opt/conda", lambda s: s.env(CONDA_PREFIX="/opt/conda")),
    Fault("temporary-folder", WARN, "noexec", lambda s: s.mount("/tmp", "tmpfs", "rw,noexec,nosuid")),
    Fault("ca-files", FAIL, "No such file", lambda s: trusted(s, s.root / "none.pem")),
    Fault("ca-files", FAIL, "set but empty", lambda s: s.env(SSL_CERT_FILE="")),
    Fault("ca-files", FAIL, "no certificate in it", lambda s: trusted(s, Path(__file__))),
    Fault("ca-expiry", FAIL, "Example CA expired", lambda s: trusted(s, ca(s, -1))),
    Fault("ca-expiry", WARN, "Example CA expires", lambda s: trusted(s, ca(s, 7))),
    Fault("ca-clients", WARN, "only REQUESTS_CA_BUNDLE", lambda s: s.env(REQUESTS_CA_BUNDLE=str(ca(s, 300)))),
    Fault("ca-clients", WARN, "only SSL_CERT_DIR", lambda s: s.env(SSL_CERT_DIR="/etc/pki/tls/certs")),
    Fault(
        "ca-clients",
        WARN,
        "PREFECT_API_SSL_CERT_FILE is",
        lambda s: s.env(SSL_CERT_FILE=str(ca(s, 300)), PREFECT_API_SSL_CERT_FILE=str(ca(s, 300, "other.pem"))),
    ),
    Fault(
        "ca-clients",
        FAIL,
        "only PREFECT_API_SSL_CERT_FILE",
        ca_unknown_to_websockets,
    ),
    Fault("ca-insecure", WARN, "(environment)", lambda s: s.env(PREFECT_API_TLS_INSECURE_SKIP_VERIFY="true")),
    Fault("settings-files", WARN, "10-site.conf:1", lambda s: settings_file(s, "HTTPS-PROXY=http://proxy:3128\n")),
    Fault(
        "proxy-urls",
        FAIL,
        "HTTPS_PROXY has no scheme",
        lambda s: proxied(s, HTTPS_PROXY="proxy.example:3128", https_proxy="proxy.example:3128"),
    ),
    Fault("proxy-urls", FAIL, "socksio and python-socks missing", lambda s: proxied(s, "socks5://proxy:1080")),
    Fault(
        "proxy-urls", FAIL, "HTTP_PROXY: the scheme", lambda s: proxied(s, HTTP_PROXY="ftp://p", http_proxy="ftp://p")
    ),
    Fault("proxy-credentials", FAIL, "percent-encoded", lambda s: proxied(s, "http://user:p%40ss@proxy.example:3128")),
    Fault(
        "proxy-cases",
        WARN,
        "HTTPS_PROXY and https_proxy differ",
        lambda s: proxied(s, https_proxy="http://other.example:1"),
    ),
    Fault("proxy-cases", WARN, "no_proxy is empty", lambda s: proxied(s, no_proxy="")),
    Fault("proxy-schemes", FAIL, "only ALL_PROXY", only_all_proxy),
    Fault("no-proxy", WARN, "NO_PROXY has *.corp", lambda s: no_proxy(s, "*.corp")),
    Fault("no-proxy", WARN, "10.0.0.0/8", lambda s: no_proxy(s, "10.0.0.0/8")),
    Fault("no-proxy", FAIL, "[::1]", lambda s: no_proxy(s, "[::1]")),
    Fault("no-proxy-loopback", FAIL, "lacks 127.0.0.1", lambda s: no_proxy(s, "", "localhost")),
    Fault("websocket-proxy", FAIL, "past the proxy", proxy_unknown_to_websockets),
    Fault("database", FAIL, "mysql", lambda s: set_database(s, "mysql://host/prefect")),
    Fault("database", FAIL, "postgresql://***@db", lambda s: set_database(s, "postgresql://u:secret@db/prefect")),
    Fault("database", WARN, "memory", lambda s: set_database(s, "sqlite+aiosqlite:///:memory:")),
    Fault("database", FAIL, "profiles.toml cannot", lambda s: (s.home / "profiles.toml").write_text("[profiles")),
    Fault("database-filesystem", WARN, "nfs4 mount", lambda s: s.mount(s.home, "nfs4")),
    Fault("database-filesystem", WARN, "cifs mount", lambda s: s.mount(s.home.parent, "cifs")),
    Fault("database-wal", WARN, "prefect.db-wal has 101.0 MiB", long_log),
    Fault("database-integrity", FAIL, "prefect.db", damaged_database),
    Fault("database-alpha", FAIL, "2.0a9 or earlier", left_by_alpha),
    Fault("database-revision", FAIL, "of Prefect 3.9.1; Prefect 3.8.3 ends at", newer_database),
    Fault("database-revision", WARN, "of Prefect 2.8.6; 56 migrations behind", older_database),
    Fault("database-orion", FAIL, "ignores", ignored_orion),
    Fault("database-orion", WARN, "both exist", two_databases),
    Fault("database-sharing", WARN, "Prefect 2.20.26 in", shared_home),
    Fault("glibc", FAIL, "glibc 2.12, needs 2.17", lambda s: s.change(glibc="2.12")),
    Fault("glibc", FAIL, "no glibc", lambda s: s.change(glibc="")),
    Fault("kernel", FAIL, "2.6.32", lambda s: s.change(kernel="2.6.32-754.el6.x86_64")),
    Fault("architecture", FAIL, "linux-64 packages on linux-aarch64", lambda s: s.change(machine="aarch64")),
    Fault("open-files", WARN, "256", lambda s: s.change(open_files=256)),
    Fault("settings-active", WARN, "HTTPS_PROXY is not what", lambda s: settings_file(s, "HTTPS_PROXY=http://p:1\n")),
    Fault("settings-unknown", WARN, "PREFECT_API_URLL", lambda s: s.env(PREFECT_API_URLL="http://x/api")),
    Fault(
        "settings-deprecated",
        WARN,
        "old name",
        lambda s: s.env(PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{s.home}/prefect.db"),
    ),
]


def retag(subject: Subject, name: str, version: str) -> None:
    """Another version of a package, by conda."""
    shutil.rmtree(next(subject.site.glob(f"{name}-*.dist-info")))
    dist_info(subject.site, name, version)
    subject.change(packages={**subject.host.packages, name: version})
    record(subject.prefix, "prefect", "3.9.1", ["site"])


def spoke(report: dict[str, Result]) -> dict[str, Result]:
    return {name: result for name, result in report.items() if result.status in (WARN, FAIL)}


def test_nothing_is_reported_where_nothing_is_wrong(subject: Subject) -> None:
    report = subject.report()
    assert spoke(report) == {}
    assert sum(result.status is OK for result in report.values()) > 30


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.id}-{fault.words[:24]}".replace(" ", "_"))
def test_fault_is_found(subject: Subject, fault: Fault) -> None:
    fault.plant(subject)
    report = subject.report()
    found = report[fault.id]
    assert found.status is fault.status
    assert fault.words in found.evidence
    assert found.cause
    assert found.fix
    assert spoke(report).keys() == {fault.id, *fault.also}


def test_full_disk_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 << 20))
    assert spoke(subject.report()).keys() == {"database-disk"}


def test_a_check_that_breaks_does_not_stop_the_others(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("prefect_env.installed.packages", broken)
    report = subject.report()
    assert {name for name, result in report.items() if "RuntimeError: unforeseen" in result.evidence} == {
        "prefect-single",
        "intruders",
        "requirements",
    }
    assert report["glibc"].status is OK


def test_what_may_not_be_read_is_left_out(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/other")

    monkeypatch.setattr("prefect_env.installed.packages", forbidden)
    found = subject.report()["intruders"]
    assert (found.status, found.evidence) == (Status.SKIP, "this user may not read /srv/other")


def test_every_check_has_a_fault() -> None:
    network = {check.id for check in checks().values() if check.needs in (Needs.NETWORK, Needs.PROBE)}
    elsewhere = {"database-disk", "selinux", "system-libraries", "windows-paths", "byte-code"} | network
    assert {fault.id for fault in FAULTS} | elsewhere == checks().keys()
    assert len(FAULTS) > 30


def test_looking_leaves_no_trace(subject: Subject) -> None:
    with sqlite3.connect(subject.home / "prefect.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    before = {path: path.stat().st_mtime_ns for path in subject.root.rglob("*")}
    assert spoke(subject.report()) == {}
    assert {path: path.stat().st_mtime_ns for path in subject.root.rglob("*")} == before


def test_an_open_database_is_read_with_its_log(subject: Subject) -> None:
    with sqlite3.connect(subject.home / "prefect.db") as server:
        server.execute("PRAGMA journal_mode=WAL")
        server.execute("UPDATE alembic_version SET version_num = 'unheard-of'")
        server.commit()
        assert "unheard-of" in subject.report()["database-revision"].evidence
    server.close()


def test_orion_db_is_renamed_when_the_user_agrees(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored_orion(subject)
    monkeypatch.setattr("prefect_env.doctor.host.live", lambda: subject.host)
    arguments = ["--only", "database-orion", "--fix"]
    refused = CliRunner().invoke(doctor, arguments, input="n\n")
    assert refused.exit_code == 1
    assert not (subject.home / "prefect.db").exists()
    agreed = CliRunner().invoke(doctor, arguments, input="y\n")
    assert agreed.exit_code == 0
    assert spoke(subject.report()) == {}
