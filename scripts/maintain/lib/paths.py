"""Where things are: the clone, its data, the user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = ROOT / "pixi.toml"
LOCK = ROOT / "pixi.lock"
ENVS = ROOT / "envs"
RECIPES = ROOT / "recipe"
RUNTIME = ROOT / "scripts" / "runtime"
BUILD = ROOT / ".build"
"""What commands make inside the clone (channel, prefixes, releases); ignored by git, safe to delete."""


def cache_dir() -> Path:
    """The user's cache for tool environments, downloads and packages.

    ``PREFECT_ENV_CACHE`` wins; else the platform's cache folder (XDG, %LOCALAPPDATA%, ~/Library/Caches).
    The stdlib-only bootstrap uses this too, so nothing but the standard library may be imported here.
    """
    own = os.environ.get("PREFECT_ENV_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "prefect-env"
