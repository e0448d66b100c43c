"""Prefect's database: opened read-only, never created, never migrated."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from prefect_env import installed, prefect_settings, revisions
from prefect_env.console import CommandError
from prefect_env.db.base import State
from prefect_env.db.postgres import Postgres
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, fail, merged, ok, skip, warn

GROUP = "Database"

ALEMBIC = "alembic_version"
MIB = 1 << 20
LEAST_FREE = 500 * MIB
QUICK = 512 * MIB
"""``PRAGMA quick_check`` reads the whole file: larger ones wait for ``--deep`` (about a second per 512 MiB)."""

RESTORE = "prefect-env db restore (or copy the file of a backup back, while no server runs)"


def existing(context: Context) -> Path | None:
    """The SQLite file that Prefect uses, if there is one."""
    file = context.database.file
    return file if file is not None and file.is_file() else None


def beside(file: Path, suffix: str) -> Path:
    """SQLite's companion of ``file``: ``-wal``, ``-shm``, ``-journal``."""
    return file.with_name(file.name + suffix)


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """``file``, read-only, leaving no trace. Raises sqlite3.Error.

    Even a read-only connection of a WAL file makes ``-wal`` and ``-shm`` if they are missing. If there is no ``-wal``
    nobody has the file open, so it can be read as one that does not change; the same where they cannot be made.
    """
    modes = ["mode=ro", "mode=ro&immutable=1"] if beside(file, "-wal").exists() else ["mode=ro&immutable=1"]
    while True:
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?{modes.pop(0)}", uri=True, timeout=5)
        with closing(connection):
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except sqlite3.OperationalError as error:
                if modes and "unable to open" in str(error):
                    continue
                raise
            yield connection
            return


def state(file: Path) -> State:
    """Where the database in ``file`` stands. Raises sqlite3.Error."""
    with opened(file) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if ALEMBIC in names else None
    return State(found[0] if found else None, frozenset(names))


def size(amount: int) -> str:
    """A number of bytes for people."""
    return f"{amount / MIB:.1f} MiB" if amount < 1 << 30 else f"{amount / (1 << 30):.1f} GiB"


@check("database", "The database's address is usable", Needs.FILES)
def address(context: Context) -> Result:
    """URL, driver, file."""
    found, file = context.database, context.database.file
    named = f"{found.kind}, {found.url} ({found.source})"
    if context.settings.problems:
        return fail("; ".join(context.settings.problems), "Prefect stops or uses other settings", "correct that file")
    drivers = {"sqlite": "sqlite+aiosqlite", "memory": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    if found.kind not in drivers:
        return fail(named, "Prefect knows SQLite and PostgreSQL only", f"set {prefect_settings.URL[0]}")
    if not found.url.startswith(f"{drivers[found.kind]}:"):
        return fail(named, "Prefect needs the asynchronous driver", f"begin the URL with {drivers[found.kind]}://")
    if found.kind == "memory":
        return warn(named, "everything is lost when the process ends", f"unset {prefect_settings.URL[0]}")
    if file is None:
        return ok(named)
    place = file if file.exists() else existing_parent(file)
    if not os.access(place, os.W_OK):
        return warn(f"{place} cannot be written", "a server started here stops", f"chown or chmod {place}")
    total = sum(path.stat().st_size for path in (file, beside(file, "-wal")) if path.is_file())
    return ok(f"{named}, {size(total)}" if file.is_file() else f"{named}, not made yet")


def existing_parent(path: Path) -> Path:
    """The nearest folder above ``path`` that exists."""
    return next(parent for parent in path.parents if parent.is_dir())


@check("database-disk", "There is room for the database", Needs.FILES)
def disk(context: Context) -> Result:
    """A migration copies tables, so it needs the file's size again."""
    file = context.database.file
    if file is None:
        return skip("no local file")
    free = shutil.disk_usage(existing_parent(file)).free
    needed = max(LEAST_FREE, 2 * (file.stat().st_size if file.is_file() else 0))
    evidence = f"{size(free)} free at {existing_parent(file)}"
    if free < needed:
        severe = fail if free < LEAST_FREE // 10 else warn
        return severe(evidence, "SQLite stops with 'database or disk is full'", f"free {size(needed - free)} there")
    return ok(evidence)


@check("database-filesystem", "The database is on a local file system", Needs.FILES)
def filesystem(context: Context) -> Result:
    """NFS, CIFS and the like have no shared memory between hosts, and locks that SQLite cannot rely on."""
    file = context.database.file
    mount = context.host.mount_of(str(file)) if file else None
    if mount is None:
        return skip("not known on this host" if file else "no local file")
    if mount.remote:
        return warn(
            f"{file} is on {mount.point}, a {mount.kind} mount",
            "SQLite's WAL mode does not work there: 'disk I/O error', 'database is locked', damage",
            "export PREFECT_HOME=/a/local/folder, or use PostgreSQL (PREFECT_SERVER_DATABASE_CONNECTION_URL)",
        )
    return ok(f"{mount.kind} at {mount.point}")


@check("database-wal", "The write-ahead log is in order", Needs.FILES)
def wal(context: Context) -> Result:
    """The journal mode, and a log that grows because a reader never lets go."""
    file = existing(context)
    if file is None:
        return skip("no local file")
    with file.open("rb") as stream:
        mode = "WAL" if stream.read(20)[18:] == b"\2\2" else "rollback journal; Prefect turns WAL on when it opens it"
    log = beside(file, "-wal")
    length = log.stat().st_size if log.is_file() else 0
    if length > max(100 * MIB, file.stat().st_size):
        return warn(
            f"{log} has {size(length)}",
            "it is not merged: a process reads without end, or a server was killed",
            "stop every process that uses the database, then start and stop the server once",
        )
    return ok(mode)


@check("database-integrity", "The database is not damaged", Needs.FILES)
def integrity(context: Context) -> Result:
    """``PRAGMA quick_check``."""
    file = existing(context)
    if file is None:
        return skip("no local file")
    if file.stat().st_size > QUICK and not context.options.deep:
        return skip(f"{size(file.stat().st_size)}: only with --deep")
    found = _quick_check(file)
    if found != ["ok"]:
        found = _quick_check(file)  # a server may have begun to write while the file was read as one at rest
    if found != ["ok"] and "locked" in found[0]:
        return warn(f"{file}: {found[0]}", "another process writes for long", "run the check again")
    return ok("quick_check: ok") if found == ["ok"] else fail(f"{file}: {'; '.join(found)}", "damage", RESTORE)


def _quick_check(file: Path) -> list[str]:
    """What the check says; ``["ok"]`` of a sound file."""
    try:
        with opened(file) as connection:
            return [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        return [str(error)]


@check("database-revision", "The database fits this Prefect", Needs.FILES)
def revision(context: Context) -> Result:
    """The alembic revision against the migrations that the installed Prefect brings."""
    file = existing(context)
    if file is None:
        return skip("no local file")
    try:
        return _fits(context, "sqlite", state(file))
    except sqlite3.Error as error:
        return skip(f"it cannot be read: {error}")


def _fits(context: Context, dialect: str, found: State) -> Result:
    if found.revision is None:
        return skip("no tables yet" if found.empty else "from before alembic")
    writer = revisions.written_by(dialect, found.revision) or "a Prefect that this command does not know"
    evidence = f"revision {found.revision}, of {writer}"
    known = revisions.installed(context.package, dialect)
    if not known:
        return skip(f"{evidence}; this Prefect brings no migrations")
    if found.revision not in known:
        return fail(
            f"{evidence}; Prefect {context.prefect} ends at {known[-1]}",
            'it is newer than this Prefect, which stops with "Can\'t locate revision"',
            f"with the newer Prefect: prefect-env db downgrade --revision {known[-1]}; or use that Prefect",
        )
    if found.revision != known[-1]:
        return warn(
            f"{evidence}; {len(known) - 1 - known.index(found.revision)} migrations behind Prefect {context.prefect}",
            "the next start of a server migrates it, and the older Prefect cannot open it again",
            "prefect-env db backup && prefect-env db upgrade",
        )
    return ok(evidence)


@check("database-server", "The PostgreSQL database fits this Prefect", Needs.NETWORK)
def server(context: Context) -> Result:
    """:func:`revision` for PostgreSQL, asked by its program psql."""
    if context.database.kind != "postgresql":
        return skip("SQLite")
    try:
        return _fits(context, "postgresql", Postgres(context.database.url).state())
    except CommandError as error:
        if error.fields["error"] == "missing-program":
            return skip(str(error))
        fix = "start it, or correct the address; prefect-env db status says more"
        return fail(f"{context.database.url}: {error.fields['why'] or error}", "the server cannot start", fix)


@check("database-alpha", "The database can be migrated", Needs.FILES)
def alpha(context: Context) -> Result:
    """A file of 2.0a9 or earlier has Prefect's tables but no alembic revision; nothing migrates it."""
    file = existing(context)
    if file is None:
        return skip("no local file")
    try:
        found = state(file)
    except sqlite3.Error as error:
        return skip(f"it cannot be read: {error}")
    if found.alpha:
        return fail(
            f"{file} was made by Prefect 2.0a9 or earlier",
            "upgrade and reset both stop with 'table flow already exists'; its data cannot be converted",
            f"mv {file} {file}.2.0a9 (it is kept; Prefect makes a new, empty database), or: prefect-env upgrade run",
        )
    return ok("no tables yet" if found.empty else "it has a revision")


def _rename_orion(context: Context) -> str:
    home = context.settings.home
    for suffix in ("-wal", "-shm", ""):  # the database last: until then Prefect finds none
        source = home / f"orion.db{suffix}"
        if source.exists():
            source.rename(home / f"prefect.db{suffix}")
    return f"renamed {home / 'orion.db'} to prefect.db"


def _may_rename(context: Context) -> bool:
    version, home = context.prefect, context.settings.home
    ignored = version is not None and version >= prefect_settings.IGNORES_ORION_DB
    return ignored and not (home / "prefect.db").exists()


@check(
    "database-orion",
    "No orion.db is left behind",
    Needs.FILES,
    fixer=lambda context: _rename_orion(context) if _may_rename(context) else "",
    question="Rename orion.db to prefect.db (no server may be running)?",
)
def orion(context: Context) -> Result:
    """From 3.0.5 on Prefect ignores ``orion.db``, the name until 2.8.0, and starts with an empty database."""
    home = context.settings.home
    file = home / "orion.db"
    if not file.is_file() or context.database.file == file:
        return ok(f"none in {home}" if not file.is_file() else f"{file} is in use")
    if context.database.source != "default":
        return warn(f"{file} is not used", f"the database is {context.database.url}", f"mv {file} elsewhere")
    if _may_rename(context):
        return fail(
            f"Prefect {context.prefect} ignores {file} and will make an empty prefect.db",
            "all flows, runs and blocks seem lost",
            f"mv {file} {home / 'prefect.db'} (prefect-env doctor --only database-orion --fix)",
        )
    return warn(
        f"{file} and {home / 'prefect.db'} both exist; the latter is used",
        "what is in orion.db is not seen",
        f"mv {file} elsewhere, or put it in prefect.db's place (prefect-env db backup first)",
    )


@check("database-sharing", "No other Prefect uses the same database", Needs.FILES)
def sharing(context: Context) -> Result:
    """Other environments of this user with another Prefect: the home is not the environment's own."""
    home, user = context.settings.home, _user_home(context)
    if context.database.file is None:
        return skip("no local file")
    if context.database.source != "default" or home != user / ".prefect":
        return ok(f"{context.database.file} is not the place that every Prefect uses")
    others = []
    for prefix in sorted(_environments(context)):
        version = installed.version_of(installed.site_packages(prefix), "prefect")
        if version is not None and version != context.prefect:
            others.append((prefix, version))
    newer = [
        warn(
            f"Prefect {version} in {prefix} uses {context.database.file} too",
            "the newer one migrates it, then the older one cannot open it",
            f"give each its own: export PREFECT_HOME={context.settings.home}-{version.major}",
        )
        for prefix, version in others
        if _head(prefix) != _head(context.prefix)
    ]
    return merged(newer, ok("none is known"))


def _head(prefix: Path) -> str:
    return (revisions.installed(installed.site_packages(prefix) / "prefect", "sqlite") or ("",))[-1]


def _user_home(context: Context) -> Path:
    return Path(context.host.env.get("HOME") or context.host.env.get("USERPROFILE") or Path.home())


def _environments(context: Context) -> set[Path]:
    """The other environments known of this user: beside this one, and in conda's list."""
    found = {path.parent for path in context.prefix.parent.glob("*/conda-meta")}
    try:
        lines = (_user_home(context) / ".conda" / "environments.txt").read_text(encoding="utf-8").splitlines()
        found |= {Path(line) for line in lines if line and Path(line, "conda-meta").is_dir()}
    except (OSError, ValueError):
        pass
    ours = context.prefix.resolve()
    return {path for path in found if path.resolve() != ours}
