"""``prefect-env info``: what ``prefect version`` prints, and where the libraries below Prefect come from.

``prefect version`` creates and migrates the database on releases before 2.10.10, so it is not run. What does not
depend on settings is read from Prefect's files; the rest is asked of Prefect in a process of its own whose
``PREFECT_HOME`` is a temporary folder, so that nothing of the user's is written, however old Prefect is.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from prefect_env.console import command, emit, mask
from prefect_env.libraries import components

SECONDS = 120
"""How long Prefect may take to answer: a cold start from a slow disk takes half a minute."""

FIELDS = (
    "Version",
    "API version",
    "Python version",
    "Git commit",
    "Built",
    "OS/Arch",
    "Profile",
    "Server type",
    "Pydantic version",
    "Database",
)
"""In the order of ``prefect version``."""

PROBE = """
import json
import prefect

if prefect.__version__.startswith("1."):
    print(json.dumps({}))
    raise SystemExit

import prefect.context
import prefect.settings as settings

def value(*names):
    for name in names:
        if hasattr(settings, name):
            found = getattr(settings, name).value()
            return getattr(found, "get_secret_value", lambda: found)()

api = value("PREFECT_API_URL")
if api:
    server = "cloud" if api.startswith(value("PREFECT_CLOUD_API_URL") or "\\0") else "server"
else:
    server = "unconfigured" if value("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE") is False else "ephemeral"
url = value("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL") or ""
profile = prefect.context.get_settings_context().profile.name
print()
print(json.dumps({"Profile": profile, "Server type": server, "Database": url.split(":")[0].split("+")[0]}))
"""
"""What is asked of Prefect 2 and 3; the names of settings differ. Prefect 1 has neither profiles nor a database."""


@click.command()
@command
def info(as_json: bool) -> None:
    """Show versions, and where SQLite, OpenSSL and Python are loaded from.

    \b
    Prints what `prefect version` prints, without touching a database. Exits 1 if something is not right.
    Example:
      prefect-env info --json
    """
    result = collect()
    emit(result, _table(result), as_json=as_json)
    if not result["ok"]:
        sys.exit(1)


def collect() -> dict[str, Any]:
    """What is shown: ``prefix``, ``prefect`` (fields; ``error`` if it is broken), ``components``, ``ok``."""
    prefect = _static()
    if "error" not in prefect:
        prefect.update(_asked())
    loaded = components()
    return {
        "prefix": sys.prefix,
        "prefect": prefect,
        "components": [component.as_dict() for component in loaded],
        "ok": "error" not in prefect and all(component.ok for component in loaded),
    }


def _static() -> dict[str, Any]:
    """The fields that stand in Prefect's files; an ``error`` where it is not installed."""
    try:
        version = installed("prefect")
        spec = find_spec("prefect")  # finds it without importing it
    except (PackageNotFoundError, ImportError, ValueError) as error:
        return {"error": f"Prefect is not installed: {error}"}
    if spec is None or not spec.origin:
        return {"Version": version, "error": "Prefect is installed but has no module"}
    try:
        pydantic: str | None = installed("pydantic")
    except PackageNotFoundError:
        pydantic = None
    return {
        "Version": version,
        **files_say(Path(spec.origin).parent),
        "Python version": platform.python_version(),
        "OS/Arch": f"{sys.platform}/{platform.machine()}",
        "Pydantic version": pydantic,
    }


def files_say(root: Path) -> dict[str, str | None]:
    """API version, commit and build date of the Prefect whose package is the folder ``root``."""
    commit, built = _origin(root)
    api = _search(r'SERVER_API_VERSION = "([^"]+)"', root / "client/constants.py", root / "server/api/server.py")
    return {"API version": api, "Git commit": commit, "Built": built}


def _origin(root: Path) -> tuple[str | None, str | None]:
    """Commit and build date as ``prefect version`` writes them, from versioningit's file (3) or versioneer's (2)."""
    commit = _search(r'__git_commit__ = "(\w{8})', root / "_build_info.py")
    date = _search(r'__build_date__ = "([^"]+)"', root / "_build_info.py")
    if commit and date:
        return commit, f"{datetime.fromisoformat(date):%a, %b %d, %Y %I:%M %p}"
    commit = _search(r'"full-revisionid": "(\w{8})', root / "_version.py")
    date = _search(r'"date": "([^"]+)"', root / "_version.py")
    if not date:
        return commit, None
    moment = datetime.strptime(date, "%Y-%m-%dT%H:%M:%S%z")
    return commit, f"{moment:%a, %b} {moment.day}, {moment.year} {moment.hour % 12 or 12}:{moment:%M %p}"


def _search(pattern: str, *files: Path) -> str | None:
    for file in files:
        try:
            found = re.search(pattern, file.read_text(encoding="utf-8"))
        except OSError:
            continue
        if found:
            return found[1]
    return None


def _asked() -> dict[str, Any]:
    """The fields that depend on the user's settings, from Prefect itself; an ``error`` where it does not run."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    with tempfile.TemporaryDirectory(prefix="prefect-env-") as temporary:
        env = {**os.environ, "PREFECT_HOME": temporary}
        env.setdefault("PREFECT_PROFILES_PATH", str(home / "profiles.toml"))
        try:
            # -I: neither the current folder nor PYTHONPATH may put another prefect before the environment's.
            done = subprocess.run(
                [sys.executable, "-I", "-c", PROBE],
                env=env,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"Prefect did not answer within {SECONDS} s"}
    said = done.stdout.strip().splitlines()
    if done.returncode == 0 and said and said[-1].startswith("{"):
        fields: dict[str, Any] = json.loads(said[-1])
        return fields
    lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode} and no answer"]
    return {"error": f"Prefect does not run: {mask(lines[-1])}"}


def _table(result: dict[str, Any]) -> str:
    fields = result["prefect"]
    lines = [f"{key + ':':<21} {fields[key] or 'unknown'}" for key in FIELDS if key in fields]
    lines.append(f"{'Prefix:':<21} {result['prefix']}")
    for part in result["components"]:
        verdict = "ok" if part["ok"] else "too old" if part["in_prefix"] else "NOT FROM THIS ENVIRONMENT"
        lines.append(f"{part['name'] + ':':<21} {part['version']}  {part['path'] or 'path unknown'}  {verdict}")
    if "error" in fields:
        lines.append(f"{'Error:':<21} {fields['error']}")
    return "\n".join(lines)
