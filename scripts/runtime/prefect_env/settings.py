"""Read the settings files: plain ``KEY=value`` lines, lowest layer first; nothing in them is ever evaluated.

Layers: ``etc/prefect-env/site.d/*.conf`` of the prefix in name order, the user's file, the project's file.
The user's own environment variables stand above all of them (:mod:`prefect_env.effective`).
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PROXY_KEYS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
KEYS = (
    *PROXY_KEYS,
    "CA_FILE",
    "CA_SYSTEM",
    "PREFECT_API_URL",
    "PREFECT_API_VIA_PROXY",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
    "TELEMETRY",
)
SWITCHES = {"CA_SYSTEM", "PREFECT_API_VIA_PROXY", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "TELEMETRY"}
YES = {"1", "true", "yes", "on"}
NO = {"0", "false", "no", "off"}

MAX_FILE = 1 << 20
MAX_VALUE = 8000
"""Longest value in characters: cmd.exe cannot handle a line of more than 8191."""

PROJECT_FILE = "prefect-env.conf"


@dataclass(frozen=True)
class Value:
    """One setting: its text and where it stands (``file:line``, or ``environment``)."""

    text: str
    source: str


@dataclass
class Layer:
    """One settings file: ``values`` by key, the CA files it names, and what is wrong with it."""

    name: str
    path: Path
    values: dict[str, Value] = field(default_factory=dict)
    ca_files: list[Value] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def printable(text: str) -> bool:
    """Whether ``text`` has no control character and no byte that is not UTF-8 (a lone surrogate)."""
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)


def shown(path: object) -> str:
    """A path for a message: control characters escaped, so that a file name cannot write to the terminal."""
    return "".join(char if printable(char) else ascii(char)[1:-1] for char in str(path))


def switch(value: Value | None) -> bool:
    """Whether a switch that :func:`read` has checked is on."""
    return value is not None and value.text.lower() in YES


def read(path: Path, name: str) -> Layer:
    """Parse one file; a line that is no setting is left out and reported, the rest is used."""
    layer = Layer(name, path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except OSError as error:
        layer.problems.append(f"{shown(path)}: {error.strerror}")
        return layer
    if len(raw) > MAX_FILE:
        layer.problems.append(f"{shown(path)}: larger than 1 MiB, not read")
        return layer
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    for number, line in enumerate(raw.split(b"\n"), 1):
        where = f"{shown(path)}:{number}"
        problem = _line(layer, line, where)
        if problem:
            layer.problems.append(f"{where}: {problem}")
    return layer


def _line(layer: Layer, line: bytes, where: str) -> str | None:
    """Add one line to ``layer``; the problem with it, or None."""
    try:
        text = line.decode().strip(" \t\r")
    except UnicodeDecodeError:
        return "not UTF-8"
    if not text or text.startswith("#"):
        return None
    key, equals, value = (part.strip(" \t") for part in text.partition("="))
    if not equals:
        return "not KEY=value"
    if key not in KEYS:
        hint = f"; did you mean {key.upper()}?" if key.upper() in KEYS else ""
        return f"unknown key{hint}"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if not printable(value):
        return f"{key} holds a control character"
    if len(value) > MAX_VALUE:
        return f"{key} is longer than {MAX_VALUE} characters"
    if key in SWITCHES and value and value.lower() not in YES | NO:
        return f"{key} is true or false"
    if key == "CA_FILE":
        if not value:
            return "CA_FILE names no file"
        with suppress(RuntimeError):  # ~name of a user that there is not: a file of that name, then
            value = str(Path(value).expanduser())
        layer.ca_files.append(Value(str(layer.path.parent / value), where))
    else:
        layer.values[key] = Value(value, where)
    return None


def site_dir(prefix: Path) -> Path:
    """The folder of the site's settings files in ``prefix``."""
    return prefix / "etc" / "prefect-env" / "site.d"


def user_file(environ: Mapping[str, str], *, windows: bool = os.name == "nt") -> Path:
    """The user's settings file: below ``%APPDATA%``, else ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    if windows:
        base = environ.get("APPDATA") or str(Path.home() / "AppData" / "Roaming")
    else:
        base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(base) / "prefect-env" / PROJECT_FILE


def project_file(environ: Mapping[str, str]) -> Path | None:
    """``prefect-env.conf`` in the folder ``PREFECT_ENV_PROJECT`` names, else in the pixi project's root."""
    folder = environ.get("PREFECT_ENV_PROJECT") or environ.get("PIXI_PROJECT_ROOT")
    return Path(folder) / PROJECT_FILE if folder else None


def layers(prefix: Path, environ: Mapping[str, str]) -> tuple[list[Layer], list[Path]]:
    """The layers, lowest first, and every path whose change or appearance changes them."""
    found: list[Layer] = []
    watched = [site_dir(prefix)]
    try:
        names = sorted(path.name for path in site_dir(prefix).iterdir() if path.suffix == ".conf")
    except OSError:
        names = []
    for name in names:
        path = site_dir(prefix) / name
        if not printable(name):
            found.append(Layer("site", path, problems=[f"{shown(path)}: control character in the file name"]))
            continue
        watched.append(path)
        found.append(read(path, "site"))
    for file, layer in ((user_file(environ), "user"), (project_file(environ), "project")):
        if file is not None and printable(str(file)):
            watched.append(file)
            if file.exists():
                found.append(read(file, layer))
    return found, watched
