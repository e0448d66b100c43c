# ruff: noqa: D102 - what a method does is said in the base class
"""A database on a PostgreSQL server, through PostgreSQL's own programs: the environment has no driver of ours.

The address goes to them by libpq's variables, so that the password is never an argument. ``PG*`` variables of the
user (``PGSSLROOTCERT``, ``PGPASSFILE``, ...) apply.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, unquote, urlsplit

from prefect_env.console import CommandError, mask
from prefect_env.db.base import Database, Session, State

CLEAR = """
SET lock_timeout = '30s';
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE 'DROP TABLE ' || name || ' CASCADE';
  END LOOP;
  FOR name IN SELECT format('%I.%I', current_schema(), typname) FROM pg_type
      WHERE typnamespace = current_schema()::regnamespace AND typtype = 'e' LOOP
    EXECUTE 'DROP TYPE ' || name || ' CASCADE';
  END LOOP;
END $$;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
"""
"""Makes room for a dump: Prefect's migrations make tables and enum types in the current schema, and this extension."""

COUNTS = """
SELECT tablename, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename),
  false, true, '')))[1]::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename
"""


class Postgres(Database, Session):
    """The database of a ``postgresql+asyncpg://`` URL; nothing stays open, so it is its own session."""

    kind = "postgresql"
    backup_name = "prefect.dump"

    def __init__(self, url: str) -> None:
        """Raises ``bad-settings`` for a URL that names no database."""
        self.url = url
        self.where = mask(url.partition("?")[0])
        try:
            parts = urlsplit(url)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            port = str(parts.port or query.get("port", ""))
        except ValueError as error:
            raise CommandError(
                "bad-settings", "the database URL cannot be read", where=self.where, why=str(error)
            ) from None
        self._env = dict(os.environ, PGCONNECT_TIMEOUT="10", PGAPPNAME="prefect-env", PGCLIENTENCODING="UTF8")
        values = {
            "PGHOST": unquote(parts.hostname or "") or query.get("host", ""),
            "PGPORT": port,
            "PGUSER": unquote(parts.username or "") or query.get("user", ""),
            "PGPASSWORD": unquote(parts.password or "") or query.get("password", ""),
            "PGDATABASE": unquote(parts.path[1:]),
            "PGSSLMODE": query.get("sslmode") or query.get("ssl", ""),
        }
        if not values["PGDATABASE"]:
            raise CommandError("bad-settings", "the database URL names no database", where=self.where)
        self._env.update({name: value for name, value in values.items() if value})

    def exists(self) -> bool:
        self._query("SELECT 1")
        return True

    def size(self) -> int:
        return int(self._query("SELECT pg_database_size(current_database())")[0][0])

    def users(self) -> list[str]:
        rows = self._query(
            "SELECT pid, coalesce(nullif(application_name, ''), usename), coalesce(host(client_addr), 'local') "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        return [f"{name} from {address} (server process {pid})" for pid, name, address in rows]

    @contextmanager
    def session(self, *, exclusive: bool = False) -> Iterator[Postgres]:
        for seconds in (0.2, 2, 0) if exclusive else ():  # a connection takes a moment to end with its process
            if not (users := self.users()):
                break
            if not seconds:
                self.busy(users)
            time.sleep(seconds)
        yield self

    def state(self) -> State:
        tables = frozenset(
            row[0] for row in self._query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        )
        rows = self._query("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
        return State(rows[0][0] if rows else None, tables)

    def check(self) -> None:
        """The server guards its own files; that every table can be read is what :meth:`counts` shows."""
        self.counts()

    def counts(self) -> dict[str, int]:
        return {table: int(number) for table, number in self._query(COUNTS)}

    def dump(self, file: Path) -> None:
        schema = self._query("SELECT quote_ident(current_schema())")[0][0]
        self._run("pg_dump", "--format=custom", "--no-owner", f"--schema={schema}", f"--file={file}")

    def restore(self, file: Path, before: Callable[[Session], None]) -> None:
        with self.session(exclusive=True) as session:
            before(session)
        schema = self._query("SELECT current_schema()")[0][0]
        with TemporaryDirectory(prefix="prefect-env-", dir=file.parent) as folder:  # of mode 0700
            script = Path(folder, "restore.sql")
            self._run("pg_restore", "--no-owner", "--no-comments", f"--schema={schema}", f"--file={script}", str(file))
            with script.open("r+", encoding="utf-8") as stream:
                text = stream.read()
                stream.seek(0)
                stream.write(CLEAR + text)
            self._psql("--single-transaction", f"--file={script}")

    def _query(self, statement: str) -> list[list[str]]:
        output = self._psql("--tuples-only", "--no-align", "--field-separator=\x1f", f"--command={statement}")
        return [line.split("\x1f") for line in output.splitlines() if line]

    def _psql(self, *arguments: str) -> str:
        return self._run("psql", "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        path = shutil.which(program)
        if path is None:
            raise CommandError(
                "missing-program",
                f"{program} is not installed",
                why="backups of PostgreSQL are made by its own programs, of the server's version or newer",
                fix="conda install --channel conda-forge postgresql, or: pixi add postgresql",
            )
        done = subprocess.run(
            [path, *arguments], env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.replace(self._env.get("PGPASSWORD") or "\0", "***")
            why = re.sub(r"\s+", " ", mask(said)).strip()[-600:]
            network = "could not connect" in why or "connection to server" in why
            raise CommandError(
                "network" if network else "command-failed", f"{program} failed", where=self.where, why=why
            )
        return done.stdout
