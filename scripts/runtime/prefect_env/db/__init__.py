"""Prefect's database: what it is, its backups, and the Prefects that read and change it."""
