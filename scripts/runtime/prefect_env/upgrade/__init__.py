"""Move from one environment and its database to another, and back.

The new environment is beside the old one; nothing in either changes. What changes is the database and, if there is
one, the link by which services find the environment. For SQLite a copy is migrated and put in the database's place by
one rename; for PostgreSQL the database is migrated in place after a dump. The database goes first and the link last,
on the way back the link first: in between, an old Prefect meets a newer database, which it refuses without harm.
"""
