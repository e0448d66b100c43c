# ruff: noqa: S608 - the names of tables are ours
"""What is in an SQLite database, to compare row by row."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path


def tables(db: sqlite3.Connection, schema: str = "main") -> dict[str, list[str]]:
    """Each table with its columns."""
    names = db.execute(f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {
        name: [row[1] for row in db.execute(f'PRAGMA {schema}.table_info("{name}")')] for (name,) in names.fetchall()
    }


def digest(path: Path) -> str:
    """A digest of the schema and all rows; equal digests mean the same database."""
    found = hashlib.sha256()
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as db:
        for line in db.iterdump():
            found.update(line.encode())
    return found.hexdigest()


def missing(old: Path, new: Path) -> dict[str, int]:
    """Per table, how many rows of ``old`` are not in ``new``, by the columns that both have.

    A table that is gone counts with all its rows. The columns of ``updated`` stamps take part, too.
    """
    found = {}
    with closing(sqlite3.connect(old)) as db:
        db.execute("ATTACH ? AS other", (str(new),))
        theirs = tables(db, "other")
        for table, columns in tables(db).items():
            shared = ", ".join(f'"{column}"' for column in columns if column in theirs.get(table, []))
            total = f'SELECT count(*) FROM main."{table}"'
            lost = f'SELECT {shared} FROM main."{table}" EXCEPT SELECT {shared} FROM other."{table}"'
            if rows := db.execute(f"SELECT count(*) FROM ({lost})" if shared else total).fetchone()[0]:
                found[table] = rows
    return found


def multiply(path: Path, rows: int) -> None:
    """Bring the flow runs of a real database to ``rows``, by copies of one with names and identities of their own."""
    with closing(sqlite3.connect(path)) as db:
        columns = tables(db)["flow_run"]
        values = {
            "id": "printf('%08x-0000-4000-8000-000000000000', n)",
            "name": "'run-' || n",
            "parameters": "json_object('number', n)",
            "state_id": "NULL",
        }
        chosen = ", ".join(values.get(column, f'"{column}"') for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        db.execute(
            f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
            f" INSERT INTO flow_run ({names}) SELECT {chosen} FROM c, (SELECT * FROM flow_run LIMIT 1)",
            (rows - db.execute("SELECT count(*) FROM flow_run").fetchone()[0],),
        )
        db.commit()
