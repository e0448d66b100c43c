"""The Prefect of a prefix: its version, its revisions, the database it uses, and its migrations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from prefect_env import installed, prefect_settings, revisions
from prefect_env.console import CommandError, mask
from prefect_env.db.base import Database
from prefect_env.db.postgres import Postgres
from prefect_env.db.sqlite import Sqlite
from prefect_env.prefect_settings import Settings
from prefect_env.settings import Value
from prefect_env.versions import Version

URL_NAMES = (("3", prefect_settings.URL[0]), ("2.8.1", prefect_settings.URL[1]), ("0", prefect_settings.URL[2]))
"""The first release that reads the database's URL from a variable, newest first, and the variable."""

SQLITE_PROBE = """
import json, sqlite3
try:
    sqlite3.connect(":memory:").execute('SELECT "text"')
    strict = False
except sqlite3.OperationalError:
    strict = True
print(json.dumps([list(sqlite3.sqlite_version_info), strict]))
"""


@dataclass(frozen=True)
class Prefix:
    """An installed environment that has Prefect."""

    path: Path
    version: Version

    @classmethod
    def at(cls, path: Path) -> Prefix:
        """The prefix at ``path`` (a link is followed). Raises ``bad-usage`` if there is no Prefect in it."""
        path = path.resolve()
        version = installed.version_of(installed.site_packages(path), "prefect")
        if version is None:
            raise CommandError(
                "bad-usage", "no Prefect is installed there", where=str(path), fix="name a prefix that has Prefect"
            )
        return cls(path, version)

    def __str__(self) -> str:
        return f"Prefect {self.version} in {self.path}"

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.path / ("python.exe" if os.name == "nt" else "bin/python")

    def revisions(self, kind: str) -> tuple[str, ...]:
        """The revisions that this Prefect knows for a kind of database, root to head."""
        package = installed.site_packages(self.path) / "prefect"
        if not package.is_dir():  # an editable checkout
            done = self._run("import importlib.util as u; print(u.find_spec('prefect').submodule_search_locations[0])")
            package = Path(done.stdout.strip())
        return revisions.installed(package, kind)

    def head(self, kind: str) -> str:
        """The revision that this Prefect upgrades to. Raises ``check-failed`` if its migrations are missing."""
        known = self.revisions(kind)
        if not known:
            raise CommandError("check-failed", f"this Prefect has no {kind} migrations", where=str(self.path))
        return known[-1]

    def settings(self) -> Settings:
        """Prefect's settings for this process's variables and working directory."""
        return prefect_settings.load(os.environ, Path.cwd(), self.version)

    def database(self, url: str | None = None) -> Database | None:
        """The database at ``url``, or the one this Prefect uses; None for Prefect 1, whose server is a container."""
        settings = self.settings()
        if url:
            settings.values[prefect_settings.URL[0]] = Value(url, "--url")
        elif self.version.major < 2:
            return None
        found = prefect_settings.database(settings, self.version)
        if found.kind == "sqlite" and found.file:
            return Sqlite(found.file)
        if found.kind == "postgresql":
            return Postgres(found.url)
        raise CommandError("bad-settings", f"a database of kind {found.kind} cannot be kept", where=mask(found.url))

    def migrate(self, database: Database, *, down_to: str | None = None) -> None:
        """Upgrade ``database`` to this Prefect's head, or downgrade it to the revision ``down_to``.

        Raises ``command-failed`` or ``disk-full`` with the end of what Prefect said.
        """
        group = "orion" if self.version < "2.8.1" else "server"
        words = ["downgrade", "-y", "-r", down_to] if down_to else ["upgrade", "-y"]
        done = self._run("from prefect.cli import app; app()", group, "database", *words, url=database.url)
        if done.returncode:
            lines = [line.strip() for line in mask(done.stdout + done.stderr).splitlines() if line.strip()]
            full = any("disk is full" in line or "No space left" in line for line in lines)
            raise CommandError(
                "disk-full" if full else "command-failed",
                f"Prefect {self.version} could not {words[0]} the database",
                where=database.where,
                why="\n    ".join(lines[-6:]),
            )

    def sqlite(self) -> tuple[tuple[int, ...], bool]:
        """The version of the SQLite that this environment loads, and whether it takes ``"text"`` for a column only."""
        done = self._run(SQLITE_PROBE)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
            raise CommandError("check-failed", "its Python does not run", where=str(self.python), why=why)
        version, strict = json.loads(done.stdout)
        return tuple(version), strict

    def _run(self, code: str, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        names = [name for _, name in URL_NAMES]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if url:
            env = {name: value for name, value in env.items() if name not in names}
            env[next(name for first, name in URL_NAMES if self.version >= first)] = url
            # The default of 10 s is meant for queries; an index on a big table takes longer.
            env.update(PREFECT_API_DATABASE_TIMEOUT="86400", PREFECT_SERVER_DATABASE_TIMEOUT="86400")
        env["PATH"] = os.pathsep.join([str(self.python.parent), env.get("PATH", os.defpath)])
        # -I: neither the working directory nor the user's packages come before the environment's.
        command = [str(self.python), "-I", "-c", code, *arguments]
        try:
            return subprocess.run(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise CommandError(
                "check-failed", "its Python does not start", where=str(self.python), why=error.strerror
            ) from None


def running() -> Path:
    """The prefix that this command runs in."""
    return Path(sys.prefix)


def newer_than(prefix: Prefix, kind: str, revision: str, where: str) -> CommandError | None:
    """The error that explains a database of a newer Prefect than ``prefix``'s; None if ``revision`` is known."""
    known = prefix.revisions(kind)
    if revision in known:
        return None
    writer = revisions.written_by(kind, revision)
    newest = next((release for release, head in revisions.table(kind)[1].items() if head == revision), None)
    program = f"Prefect {newest or 'that wrote it'}"
    return CommandError(
        "check-failed",
        f"the database is newer than Prefect {prefix.version}",
        where=where,
        why=f"it is at revision {revision}, of {writer or 'a Prefect that this command does not know'}",
        fix=f"in the environment of {program}: prefect-env db downgrade --revision {known[-1]}"
        f" (or: prefect server database downgrade -y -r {known[-1]}); or restore a backup: prefect-env db restore",
    )
