"""What is installed in a prefix, read from its files: nothing of it is imported, so it may be broken."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path

from prefect_env.versions import Version


def site_packages(prefix: Path) -> Path:
    """The folder of the Python packages of the environment in ``prefix`` (where it would be, if there is none)."""
    windows = prefix / "Lib" / "site-packages"
    found = sorted(
        prefix.glob("lib/python3.*/site-packages"), key=lambda path: int(path.parts[-2].split(".")[1].rstrip("t"))
    )
    return found[-1] if found else windows if windows.is_dir() or os.name == "nt" else prefix / "lib" / "site-packages"


def normal(name: str) -> str:
    """A project's name as the Python index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Package:
    """A Python package: its project's name, version, metadata folder, and the Requires-Dist lines of its metadata."""

    name: str
    version: str
    folder: Path
    requires: tuple[str, ...]

    @property
    def editable(self) -> bool:
        """Whether it is a checkout that was installed in place (PEP 610)."""
        try:
            return '"editable": true' in (self.folder / "direct_url.json").read_text(encoding="utf-8")
        except OSError:
            return False


def packages(folder: Path) -> list[Package]:
    """The Python packages whose metadata folders (``.dist-info``) are in ``folder``.

    Only the head of each METADATA is read: a parser of mail, as importlib.metadata has, takes a hundred times longer.
    """
    found = []
    for info in sorted(folder.glob("*.dist-info")):
        try:
            head = (info / "METADATA").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        except OSError:
            head = ""
        name, _, version = info.stem.partition("-")
        named = re.search(r"^Name: *(.+)$", head, re.MULTILINE)
        requires = tuple(re.findall(r"^Requires-Dist: *(.+)$", head, re.MULTILINE))
        found.append(Package(named[1].strip() if named else name, version, info, requires))
    return found


def versions(folder: Path) -> dict[str, str]:
    """The projects in ``folder`` by normal name with their versions, from the names of their metadata folders."""
    found = {}
    for info in sorted(folder.glob("*.*-info")):
        if info.suffix in (".dist-info", ".egg-info"):
            name, _, version = info.stem.partition("-")
            found[normal(name)] = version.partition("-")[0]
    return found


def version_of(folder: Path, project: str) -> Version | None:
    """The version of ``project`` in ``folder``; None if it is not there, or has no version that can be read."""
    try:
        return Version(versions(folder)[normal(project)])
    except (KeyError, ValueError):
        return None


def prefect_settings(package: Path) -> tuple[set[str], dict[str, str]]:
    """The ``PREFECT_*`` variables that the Prefect in the folder ``package`` knows, read from its source.

    All current names, and old ones that it still reads, with what replaces them ("" if nothing does).
    2.x declares ``PREFECT_X = Setting(...)``; 3.x has classes of fields with a prefix and aliases.
    """
    names: set[str] = set()
    old: dict[str, str] = {}
    for path in (package / "settings.py", *sorted(package.glob("settings/models/**/*.py"))):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                _setting(node, names, old)
            elif isinstance(node, ast.ClassDef):
                _model(node, names, old)
    return names, old


def _setting(node: ast.Assign | ast.AnnAssign, names: set[str], old: dict[str, str]) -> None:
    """``PREFECT_X = Setting(..., deprecated=True, deprecated_renamed_to=PREFECT_Y)`` of 2.x."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    call = node.value
    if not (isinstance(target, ast.Name) and target.id.startswith("PREFECT_") and isinstance(call, ast.Call)):
        return
    words = {keyword.arg: keyword.value for keyword in call.keywords}
    deprecated = words.get("deprecated")
    if isinstance(deprecated, ast.Constant) and deprecated.value is True:
        renamed = words.get("deprecated_renamed_to")
        text = words.get("deprecated_help")
        help_text = str(text.value) if isinstance(text, ast.Constant) else ""
        told = re.search(r"PREFECT_\w+", renamed.id if isinstance(renamed, ast.Name) else help_text)
        old[target.id] = told[0] if told else ""
    else:
        names.add(target.id)


def _model(node: ast.ClassDef, names: set[str], old: dict[str, str]) -> None:
    """A settings class of 3.x: ``model_config = build_settings_config(("server", "api"))`` and its fields."""
    prefix = None
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id == "model_config":
            words = [word.value for word in ast.walk(item) if isinstance(word, ast.Constant)]
            prefix = "_".join(["PREFECT", *(str(word).upper() for word in words if isinstance(word, str))])
    if prefix is None:
        return
    for item in node.body:
        if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
            continue
        annotation = ast.unparse(item.annotation)
        if item.target.id.startswith("_") or "ClassVar" in annotation or annotation.strip("\"'").endswith("Settings"):
            continue  # no setting, or a group of settings with a class of its own
        words = [word.value for word in ast.walk(item) if isinstance(word, ast.Constant)]
        aliases = [str(word).upper() for word in words if re.fullmatch(r"prefect_\w+", str(word))]
        name = aliases[0] if aliases else f"{prefix}_{item.target.id}".upper()
        names.add(name)
        old.update(dict.fromkeys(aliases[1:], name))
