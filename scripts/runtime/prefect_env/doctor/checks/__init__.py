"""The checks, one module for each group; :data:`MODULES` is the order of the report."""

MODULES = (
    "prefect",
    "libraries",
    "packages",
    "search_path",
    "trust",
    "proxy",
    "network",
    "database",
    "host",
    "settings",
    "telemetry",
)
