"""Prefect's own settings as Prefect resolves them, and the database they name; Prefect is not imported.

Highest first: environment, ``.env``, ``prefect.toml`` and ``pyproject.toml`` of the working directory (3.x only), the
active profile (``prefect/settings/sources.py``).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect_env.settings import Value
from prefect_env.versions import Version

IGNORES_ORION_DB = Version("3.0.5")
"""From this release on an ``orion.db`` is ignored, as if there were no database."""

URL = (
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_ORION_DATABASE_CONNECTION_URL",
)


@dataclass
class Settings:
    """``values`` by variable name with their sources; ``problems`` are files that cannot be read, one line each."""

    home: Path
    profile: str
    values: dict[str, Value] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def get(self, *names: str) -> Value | None:
        """The value of the first of ``names`` that is set; an empty one counts as not set."""
        return next((self.values[name] for name in names if name in self.values and self.values[name].text), None)

    def on(self, name: str, *, default: bool = False) -> bool:
        """Whether a switch is on, by pydantic's words for it."""
        value = self.get(name)
        return value.text.lower() in ("1", "true", "yes", "on", "t", "y") if value else default


def load(environ: Mapping[str, str], folder: Path, version: Version | None) -> Settings:
    """The settings of a Prefect ``version`` (None: unknown, taken as the newest) started in ``folder``."""
    home = Path(environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    new = version is None or version.major >= 3
    settings = Settings(home, environ.get("PREFECT_PROFILE") or "")
    default = Path(environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    profiles = _toml(default, settings)
    settings.profile = settings.profile or str(profiles.get("active") or ("ephemeral" if new else "default"))
    chosen = _table(profiles, "profiles", settings.profile)
    settings.values.update({name: Value(_text(value), f"profile {settings.profile}") for name, value in chosen.items()})
    if new:
        for name, header in (("pyproject.toml", ("tool", "prefect")), ("prefect.toml", ())):
            _flatten(_table(_toml(folder / name, settings), *header), "PREFECT", name, settings.values)
        settings.values.update(_dotenv(folder / ".env"))
    settings.values.update(
        {name: Value(value, "environment") for name, value in environ.items() if name.startswith("PREFECT_")}
    )
    return settings


def _toml(path: Path, settings: Settings) -> dict[str, Any]:
    """The file's content; nothing if there is none, or if this Python has no reader for it."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        if sys.version_info >= (3, 11):
            import tomllib

            return tomllib.loads(text)
        import toml  # type: ignore[import-untyped]  # a dependency of every Prefect

        found = toml.loads(text)
    except ImportError:
        return {}  # an environment that broken has no Prefect that would read the file
    except (OSError, ValueError) as error:
        settings.problems.append(f"{path} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _table(content: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _flatten(table: Mapping[str, Any], name: str, source: str, values: dict[str, Value]) -> None:
    """``[server.database] echo = true`` is ``PREFECT_SERVER_DATABASE_ECHO``."""
    for key, value in table.items():
        path = f"{name}_{key}".upper()
        if isinstance(value, dict):
            _flatten(value, path, source, values)
        else:
            values[path] = Value(_text(value), source)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dotenv(path: Path) -> dict[str, Value]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    lines = re.findall(r"^\s*(?:export\s+)?(PREFECT_\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE)
    return {name: Value(value.strip("\"'"), ".env") for name, value in lines}


def _postgres(driver: str, settings: Settings) -> str:
    """The URL that 3.x makes of the single parts of a PostgreSQL database's address."""
    parts = {}
    for part in ("HOST", "PORT", "USER", "PASSWORD", "NAME"):
        value = settings.get(f"PREFECT_SERVER_DATABASE_{part}", f"PREFECT_API_DATABASE_{part}")
        parts[part] = quote(value.text, safe="") if value else ""
    login = parts["USER"] + (f":{parts['PASSWORD']}" if parts["PASSWORD"] else "")
    return f"{driver}://{login}{'@' if login else ''}{parts['HOST']}:{parts['PORT'] or 5432}/{parts['NAME']}"


@dataclass(frozen=True)
class Database:
    """Where Prefect keeps its data. ``kind``: sqlite, memory, postgresql or what the URL says; ``file`` for sqlite."""

    kind: str
    url: str
    source: str
    file: Path | None = None


def database(settings: Settings, version: Version | None) -> Database:
    """The database that a Prefect ``version`` with ``settings`` opens; nothing is created or opened here."""
    value = settings.get(*URL)
    if value is None:
        driver = settings.get("PREFECT_SERVER_DATABASE_DRIVER", "PREFECT_API_DATABASE_DRIVER")
        if driver and driver.text.startswith("postgresql"):
            return Database("postgresql", _postgres(driver.text, settings), driver.source)
        file = settings.home / "prefect.db"
        orion = settings.home / "orion.db"
        if version is not None and version < IGNORES_ORION_DB and orion.exists() and not file.exists():
            file = orion
        return Database("sqlite", f"sqlite+aiosqlite:///{file}", "default", file)
    url = re.sub(r"\$\{?PREFECT_HOME\}?", lambda _: str(settings.home), value.text)
    password = settings.get("PREFECT_SERVER_DATABASE_PASSWORD", "PREFECT_API_DATABASE_PASSWORD")
    text = password.text if password else ""
    url = re.sub(r"\$\{PREFECT_(API|SERVER)_DATABASE_PASSWORD\}", lambda _: text, url)
    kind = re.split(r"[+:]", url, maxsplit=1)[0]
    if kind != "sqlite":
        return Database("postgresql" if kind == "postgres" else kind, url, value.source)
    path = url.partition(":///")[2].partition("?")[0]
    if not path or ":memory:" in path:
        return Database("memory", url, value.source)
    if path.startswith("file:"):
        path = path[len("file:") :]
    return Database("sqlite", url, value.source, Path(os.path.abspath(path)))  # noqa: PTH100 - links stay
