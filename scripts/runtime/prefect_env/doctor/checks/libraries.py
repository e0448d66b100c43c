"""SQLite and OpenSSL as they are loaded, not as a program of that name says."""

from __future__ import annotations

from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Result, check, fail, merged, ok, skip, warn
from prefect_env.versions import Version

GROUP = "Libraries"

FLOOR = "3.24"
"""What Prefect checks when it opens its database (server/database/configurations.py)."""

HIGHER_FLOORS = (("2.14.3", "2.14.5", "3.33"), ("3.0.3", "3.1.0", "3.33"))
"""First and last release whose migrations use UPDATE ... FROM (PrefectHQ/prefect#11104, #15903); what it needs."""

QUOTES_FIXED = "3.2.6"
"""From here on no migration writes strings in double quotes (PrefectHQ/prefect#17186)."""

OWN_OPENSSL = "install OpenSSL into the environment: conda install 'openssl>=3' (pixi add, scripts/install)"
OWN_SQLITE = "install SQLite into the environment: conda install 'libsqlite>=3.50.2' (pixi add, scripts/install)"


@check("sqlite", "SQLite is new enough for this Prefect")
def sqlite(context: Context) -> Result:
    """The loaded library's version against the real floor of the installed release."""
    library = context.host.library("SQLite")
    if library is None or library.version.startswith("cannot"):
        return fail(library.version if library else "Python has no sqlite3 module", "the server needs it", OWN_SQLITE)
    found, prefect = Version(library.version), context.prefect
    floor, why = FLOOR, "Prefect refuses to open its database"
    for first, last, higher in HIGHER_FLOORS:
        if prefect is not None and Version(first) <= prefect <= Version(last):
            floor, why = higher, f"migrations of Prefect {first} to {last} use UPDATE ... FROM"
    evidence = f"SQLite {found} ({library.path or 'path unknown'})"
    return (
        fail(f"{evidence}, {floor} is needed", why, OWN_SQLITE) if found < floor else ok(f"{evidence}, needs {floor}")
    )


@check("sqlite-quotes", "SQLite runs this Prefect's migrations")
def quotes(context: Context) -> Result:
    """Builds with DQS=0 (conda-forge's 3.49.0 and 3.49.1) against releases before 3.2.6."""
    if context.host.double_quoted is None or context.prefect is None:
        return skip("not known")
    if context.host.double_quoted or context.prefect >= QUOTES_FIXED:
        return ok("double-quoted strings are taken" if context.host.double_quoted else "not needed by this release")
    return fail(
        "this SQLite was built with DQS=0",
        f"migrations of Prefect before {QUOTES_FIXED} stop with 'no such column: \"Debug Print Notification\"'",
        "conda install 'libsqlite>=3.50.2'",
    )


@check("openssl", "OpenSSL is supported")
def openssl(context: Context) -> Result:
    """The loaded version, with a note where the kernel demands FIPS."""
    library = context.host.library("OpenSSL")
    if library is None or library.version.startswith("cannot"):
        return fail(library.version if library else "Python has no ssl module", "no https without it", OWN_OPENSSL)
    evidence = f"OpenSSL {library.version} ({library.path or 'path unknown'})"
    if Version(library.version) < "3":
        return fail(evidence, "1.x gets no security fixes since September 2023", OWN_OPENSSL)
    if context.host.fips:
        return warn(
            f"{evidence}; the kernel is in FIPS mode",
            "an environment's OpenSSL is no validated module and ignores the host's FIPS policy",
            "if your site requires FIPS, ask it whether software outside of the validated modules is allowed",
        )
    return ok(evidence)


@check("libraries-origin", "Python, SQLite and OpenSSL are the environment's")
def origin(context: Context) -> Result:
    """Each library must be loaded from the prefix; LD_LIBRARY_PATH and the like pull in others."""
    host = context.host
    variables = [name for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH") if host.env.get(name)]
    because = f"{' and '.join(variables)} is set" if variables else "this Python is not the environment's"
    foreign = [
        fail(
            f"{library.name} is loaded from {library.path}, not from {host.prefix}",
            because,
            f"unset {' '.join(variables)}" if variables else "use the environment's python, or install it again",
        )
        for library in host.libraries
        if library.path and not host.inside(library.path)
    ]
    return merged(foreign, ok(f"from {host.prefix}"))
