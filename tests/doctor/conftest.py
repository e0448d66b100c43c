"""A small prefix that looks like an installed one, on a host that is in order."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from prefect_env import revisions
from prefect_env.doctor.context import Context, Options
from prefect_env.doctor.host import Host, Library, Mount
from prefect_env.doctor.registry import Result, checks
from prefect_env.doctor.run import run

MODELS = """
class APISettings(PrefectBaseSettings):
    model_config: ClassVar[SettingsConfigDict] = build_settings_config(("api",))
    url: Optional[str] = Field(default=None)
    key: Optional[SecretStr] = Field(default=None)
    auth_string: Optional[SecretStr] = Field(default=None)
    ssl_cert_file: Optional[str] = Field(default=None)
    tls_insecure_skip_verify: bool = Field(default=False)

class ServerDatabaseSettings(PrefectBaseSettings):
    model_config: ClassVar[SettingsConfigDict] = build_settings_config(("server", "database"))
    connection_url: Optional[SecretStr] = Field(
        validation_alias=AliasChoices(
            AliasPath("connection_url"), "prefect_server_database_connection_url", "prefect_api_database_connection_url"
        ),
    )

class Settings(PrefectBaseSettings):
    model_config: ClassVar[SettingsConfigDict] = build_settings_config()
    home: Path = Field(default=Path("~"))
    profiles_path: Path = Field(default=Path("~"))
"""


@dataclass
class Subject:
    """A host with a prefix; tests plant faults in it, :meth:`report` says what the doctor finds."""

    root: Path
    host: Host
    options: Options = field(default_factory=lambda: Options(offline=True, deep=True))

    @property
    def prefix(self) -> Path:
        return Path(self.host.prefix)

    @property
    def home(self) -> Path:
        return Path(self.host.env["PREFECT_HOME"])

    @property
    def site(self) -> Path:
        return self.prefix / "lib" / "python3.11" / "site-packages"

    def env(self, **variables: str | None) -> None:
        kept = {name: value for name, value in self.host.env.items() if name not in variables}
        self.change(env={**kept, **{name: value for name, value in variables.items() if value is not None}})

    def change(self, **facts: Any) -> None:
        self.host = replace(self.host, **facts)

    def library(self, name: str, version: str, path: str | Path | None = None) -> None:
        kept = tuple(library for library in self.host.libraries if library.name != name)
        self.change(libraries=(*kept, Library(name, version, str(path or self.prefix / "lib" / f"lib{name}.so"))))

    def package(self, name: str, version: str, **metadata: str) -> Path:
        """A Python package whose metadata no conda package owns."""
        self.change(packages={**self.host.packages, name: version})
        return dist_info(self.site, name, version, **metadata)

    def version(self, version: str) -> None:
        """Another Prefect in the same prefix, with the migrations of that release."""
        self.change(packages={**self.host.packages, "prefect": version})
        for info in self.site.glob("prefect-*.dist-info"):
            info.rename(info.with_name(f"prefect-{version}.dist-info"))
        (self.site / f"prefect-{version}.dist-info" / "METADATA").write_text(f"Name: prefect\nVersion: {version}\n\n")
        migrations(self.site / "prefect", version)
        record(self.prefix, "prefect", version, ["site"])

    def database(
        self, revision: str | None, tables: tuple[str, ...] = ("flow", "flow_run"), name: str = "prefect.db"
    ) -> Path:
        """An SQLite file in the home at ``revision``."""
        self.home.mkdir(exist_ok=True)
        file = self.home / name
        connection = sqlite3.connect(file)
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY)")
        if revision:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.commit()
        connection.close()
        return file

    def context(self) -> Context:
        return Context(self.host, self.options)

    def report(self) -> dict[str, Result]:
        return {check.id: result for check, result in run(checks().values(), self.context())}

    def mount(self, point: str | Path, kind: str, options: str = "rw") -> None:
        self.change(mounts=(*self.host.mounts, Mount(str(point), kind, tuple(options.split(",")))))


def dist_info(site: Path, name: str, version: str, **metadata: str) -> Path:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        f"Name: {name}",
        f"Version: {version}",
        *(f"{key.replace('_', '-')}: {value}" for key, value in metadata.items()),
    ]
    (folder / "METADATA").write_text("\n".join(lines) + "\n\n")
    (folder / "RECORD").write_text("")
    return folder


def migrations(package: Path, version: str, dialect: str = "sqlite") -> None:
    """Migration files up to the head of ``version`` as the table of revisions knows it."""
    order, heads = revisions.table(dialect)
    folder = package / "server" / "database" / "_migrations" / "versions" / dialect
    for path in folder.glob("*.py"):
        path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    parent: str | None = None
    for number, revision in enumerate(order[: order.index(heads[version]) + 1]):
        down = f'"{parent}"' if parent else None
        (folder / f"{number:03}.py").write_text(f'revision = "{revision}"\ndown_revision = {down}\n')
        parent = revision


def record(prefix: Path, name: str, version: str, roots: list[str], depends: list[str] | None = None) -> None:
    """conda-meta's record of a package that owns what is below ``roots``; "site" is all of site-packages."""
    for old in prefix.glob(f"conda-meta/{name}-*.json"):
        old.unlink()
    site = prefix / "lib/python3.11/site-packages"
    folders = [site if root == "site" else prefix / root for root in roots]
    files = sorted(
        path for folder in folders for path in (folder.rglob("*") if folder.is_dir() else [folder]) if path.is_file()
    )
    paths = [
        {
            "_path": file.relative_to(prefix).as_posix(),
            "path_type": "hardlink",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in files
    ]
    content = {
        "name": name,
        "version": version,
        "build": "0",
        "subdir": "noarch" if "site" in roots else "linux-64",
        "depends": depends or [],
        "files": [path["_path"] for path in paths],
        "paths_data": {"paths": paths, "paths_version": 1},
    }
    (prefix / "conda-meta" / f"{name}-{version}-0.json").write_text(json.dumps(content))
    stems = "".join(f"+made/linux-64::{path.stem}\n" for path in sorted(prefix.glob("conda-meta/*.json")))
    (prefix / "conda-meta" / "history").write_text(f"==> now <==\n# cmd: made\n{stems}")


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """Prefect 3.9.1 with four packages on a RHEL 9 without faults; its database is at the head."""
    prefix = tmp_path / "envs" / "prefect"
    site = prefix / "lib" / "python3.11" / "site-packages"
    package = site / "prefect"
    for folder in (
        prefix / "conda-meta",
        prefix / "bin",
        prefix / "ssl",
        package / "settings" / "models",
        package / "client",
    ):
        folder.mkdir(parents=True)
    python = prefix / "bin" / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *import*prefect*) exit 0;; esac\nexit 9\n')
    python.chmod(0o755)
    (prefix / "lib" / "libsqlite3.so").write_text("")
    (package / "__init__.py").write_text("")
    (package / "client" / "constants.py").write_text('SERVER_API_VERSION = "0.8.4"\n')
    (package / "settings" / "models" / "root.py").write_text(MODELS)
    migrations(package, "3.9.1")
    dist_info(site, "prefect", "3.9.1", Requires_Dist="websockets>=15,<17")
    dist_info(site, "websockets", "16.1.1")
    record(prefix, "python", "3.11.9", ["bin"], ["__glibc >=2.17,<3.0.a0"])
    record(prefix, "libsqlite", "3.50.4", ["lib/libsqlite3.so"])
    record(prefix, "prefect", "3.9.1", ["site"])
    home = tmp_path / "home"
    host = Host(
        system="linux",
        machine="x86_64",
        kernel="5.14.0-427.el9.x86_64",
        prefix=str(prefix),
        env={"HOME": str(home), "PREFECT_HOME": str(home / ".prefect"), "PATH": f"{prefix}/bin:/usr/bin"},
        release={
            "ID": "rhel",
            "VERSION_ID": "9.4",
            "PRETTY_NAME": "Red Hat Enterprise Linux 9.4 (Plow)",
            "ID_LIKE": "fedora",
        },
        glibc="2.34",
        mounts=(Mount("/", "xfs", ("rw", "relatime")),),
        python="3.11.9",
        libraries=(
            Library("Python", "3.11.9", str(prefix / "bin" / "python")),
            Library("SQLite", "3.50.4", str(prefix / "lib" / "libsqlite3.so")),
            Library("OpenSSL", "3.5.2", str(prefix / "lib" / "libssl.so.3")),
        ),
        packages={"prefect": "3.9.1", "websockets": "16.1.1"},
        double_quoted=True,
        search=(str(site),),
        temp="/tmp",
        folder=str(tmp_path),
        open_files=8192,
    )
    (home / ".prefect").mkdir(parents=True)
    made = Subject(tmp_path, host)
    made.database(revisions.table("sqlite")[1]["3.9.1"])
    return made
