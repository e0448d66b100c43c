"""Read ``pixi.toml``: channels, platforms, environments composed from features, release lines.

Only what this project uses of pixi's manifest is accepted; anything else that would change a solve is an error,
so that the lock never silently differs from what pixi would make of the same file.
Meaning of the keys: https://pixi.prefix.dev/latest/reference/pixi_manifest/
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError
from maintain.lib.files import from_oserror
from maintain.lib.paths import MANIFEST

Table = dict[str, Any]

# pixi's defaults per kind of platform, in the order and spelling of its lock file (since pixi 0.71). A build
# string that is not pixi's own (__linux=3.10=0) would count as a change of the platform.
_ARCHSPEC = {
    "linux-64": "x86_64",
    "linux-aarch64": "aarch64",
    "osx-64": "x86_64",
    "osx-arm64": "m1",
    "win-64": "x86_64",
}
_DEFAULTS = {
    "linux": {"__unix": "0=0", "__linux": "4.18", "__glibc": "2.28"},
    "osx": {"__unix": "0=0", "__osx": "13.0"},
    "win": {"__win": "10.0"},
}
# The keys of a platform entry, in the order in which pixi builds a name from them and writes them into its lock file.
_VIRTUAL = {"glibc": "__glibc", "linux": "__linux", "macos": "__osx", "windows": "__win"}
_TARGET_KEYS = frozenset({"dependencies", "tasks", "activation"})
_FEATURE_KEYS = _TARGET_KEYS | {"target", "platforms"}
_TOP_KEYS = _TARGET_KEYS | {"target", "workspace", "feature", "environments", "tool"}


@dataclass(frozen=True)
class Platform:
    """A conda subdir with the virtual packages the solver may rely on."""

    name: str
    """pixi's name of the entry; another entry of the manifest refers to it by this, and so does pixi.lock.

    pixi 0.71 to 0.77 wrote the aliases p1, p2, ... there instead; later ones read them, and write the name."""
    subdir: str
    virtual_packages: tuple[str, ...]
    """As pixi.lock spells and orders them, for example ``__glibc=2.17``."""


@dataclass(frozen=True)
class Spec:
    """One dependency of the manifest: a match spec and where it stands."""

    name: str
    constraint: str
    """Version and build as in a match spec (``>=3.6,<4``, ``3.50.* h0*``, ``*``)."""
    where: str
    """file:line"""

    @property
    def text(self) -> str:
        """The match spec (``prefect >=3.6,<4``)."""
        return self.name if self.constraint == "*" else f"{self.name} {self.constraint}"


@dataclass(frozen=True)
class Feature:
    """A named set of dependencies, some of them for some platforms only."""

    dependencies: dict[str, Spec]
    targets: dict[str, dict[str, Spec]]
    platforms: tuple[str, ...] | None


@dataclass(frozen=True)
class Environment:
    """A set of packages for a role, composed of features."""

    name: str
    purpose: str
    features: tuple[str, ...]
    platforms: tuple[str, ...]
    """The conda subdirs it exists for."""
    where: str
    _features: tuple[Feature, ...] = field(repr=False)

    def requirements(self, platform: str) -> tuple[Spec, ...]:
        """The specs of this environment on the subdir ``platform``, sorted by name.

        As in pixi, a target declared later wins within a feature, and two features that name the same package
        are both kept.
        """
        found: list[Spec] = []
        for feature in self._features:
            merged = dict(feature.dependencies)
            for selector, dependencies in feature.targets.items():
                if selector in _selectors(platform):
                    merged.update(dependencies)
            found += merged.values()
        return tuple(sorted(found, key=lambda spec: (spec.name, spec.constraint)))

    def specs(self, platform: str) -> dict[str, str]:
        """Package name -> constraint on the subdir ``platform``; constraints of several features are joined."""
        joined: dict[str, str] = {}
        for spec in self.requirements(platform):
            old = joined.get(spec.name, "*")
            joined[spec.name] = (
                spec.constraint if old == "*" else old if spec.constraint == "*" else f"{old},{spec.constraint}"
            )
        return joined


@dataclass(frozen=True)
class Line:
    """A Prefect release line that the recipes build."""

    name: str
    prefect: str
    python: str
    """Version constraint of Python."""

    @property
    def serves(self) -> bool:
        """Whether the package holds Prefect's server and database; Prefect 1's server is a set of containers."""
        return not self.prefect.startswith("1.")


@dataclass(frozen=True)
class Manifest:
    """What ``pixi.toml`` declares."""

    path: Path
    version: str
    channels: tuple[str, ...]
    """Base URLs without a trailing slash, highest priority first."""
    platforms: dict[str, Platform]
    """By conda subdir."""
    environments: dict[str, Environment]
    lines: dict[str, Line]


def load(path: Path = MANIFEST) -> Manifest:
    """Read the manifest at ``path``; raise ``bad-file`` with file:line for whatever it should not hold."""
    return _Reader(path).manifest()


class _Reader:
    """One reading of one file; keeps the text so that errors and specs can name their line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise from_oserror(error, path) from error
        try:
            self.text = raw.decode()
            self.data: Table = tomllib.loads(self.text)
        except UnicodeDecodeError as error:
            where = f"{path}:{raw[: error.start].count(10) + 1}"
            raise ToolError("bad-file", f"{path.name} is not UTF-8", where=where, why=error.reason) from error
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            where = f"{path}:{line[1] if line else self.text.count(chr(10)) + 1}"
            raise ToolError("bad-file", f"{path.name} is not valid TOML 1.0", where=where, why=str(error)) from error
        except RecursionError as error:
            raise ToolError("bad-file", f"{path.name} is nested too deeply", where=f"{path}:1") from error

    def bad(self, what: str, *keys: str) -> ToolError:
        return ToolError(
            "bad-file", what, where=self.where(*keys), fix=f"correct {self.path.name}, then run scripts/lock"
        )

    def where(self, *keys: str) -> str:
        """file:line of a key, given as its path from the top; the nearest table that is written out if it is not."""
        best, depth = 1, 0
        for number, at in self.written:
            shared = at[: len(keys)]  # a table may be written out below the key only
            if len(shared) > depth and keys[: len(shared)] == shared:
                best, depth = number, len(shared)
        return f"{self.path}:{best}"

    @functools.cached_property
    def written(self) -> list[tuple[int, tuple[str, ...]]]:
        """The lines that hold a table's header or a key, each with its path from the top."""
        found = []
        table: tuple[str, ...] = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[+([^\[\]]+)\]+\s*(?:#.*)?$", line)
            entry = re.match(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=", line)
            if header:
                table = _dotted(header[1])
                found.append((number, table))
            elif entry:
                found.append((number, table + _dotted(entry[1])))
        return found

    def table(self, value: Any, *keys: str) -> Table:
        if not isinstance(value, dict):
            raise self.bad(f"{'.'.join(keys)} must be a table", *keys)
        return value

    def sub(self, parent: Table, *keys: str) -> Table:
        return self.table(parent.get(keys[-1], {}), *keys)

    def own(self, key: str) -> Table:
        """A table of ours, below [tool.prefect-env]."""
        tool = self.sub(self.data, "tool")
        return self.sub(self.sub(tool, "tool", "prefect-env"), "tool", "prefect-env", key)

    def string(self, value: Any, *keys: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.bad(f"{'.'.join(keys)} must be a non-empty string", *keys)
        return value

    def strings(self, value: Any, *keys: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.bad(f"{'.'.join(keys)} must be a list of strings", *keys)
        if len(set(value)) != len(value):
            raise self.bad(f"{'.'.join(keys)} names something twice", *keys)
        return tuple(value)

    def manifest(self) -> Manifest:
        if "workspace" not in self.data:
            raise self.bad("the table [workspace] is missing", "workspace")
        workspace = self.sub(self.data, "workspace")
        channels = self.strings(workspace.get("channels"), "workspace", "channels")
        if not channels:
            raise self.bad("workspace.channels is empty", "workspace", "channels")
        for key in ("channel-priority", "solve-strategy", "exclude-newer"):
            if key in workspace:
                raise self.bad(f"{key} is not supported by scripts/lock", "workspace", key)
        platforms = self.platforms(workspace)
        features = {"default": self.feature(self.data, platforms)}
        for name, content in self.sub(self.data, "feature").items():
            if name == "default":
                raise self.bad("the default feature is the file itself", "feature", name)
            features[name] = self.feature(self.table(content, "feature", name), platforms, "feature", name)
        return Manifest(
            path=self.path,
            version=self.string(workspace.get("version"), "workspace", "version"),
            channels=tuple(_channel_url(channel) for channel in channels),
            platforms=platforms,
            environments=self.environments(features, platforms),
            lines=self.lines(),
        )

    def platforms(self, workspace: Table) -> dict[str, Platform]:
        at = ("workspace", "platforms")
        entries = workspace.get("platforms")
        if not isinstance(entries, list) or not entries:
            raise self.bad("workspace.platforms must be a list of platforms", *at)
        found: dict[str, Platform] = {}
        for entry in entries:
            declared = {"platform": entry} if isinstance(entry, str) else self.table(entry, *at)
            subdir = self.string(declared.get("platform"), *at)
            kind = subdir.partition("-")[0]
            if subdir not in _ARCHSPEC:
                raise self.bad(f"{subdir} is not a platform this project knows ({', '.join(_ARCHSPEC)})", *at)
            if subdir in found:
                raise self.bad(f"platform {subdir} is declared twice", *at)
            defaults = {**_DEFAULTS[kind], "__archspec": f"0={_ARCHSPEC[subdir]}"}
            values: dict[str, str] = {}
            extra: list[str] = []
            for key, package in _VIRTUAL.items():
                if key in declared:
                    if package not in defaults:
                        raise self.bad(f"{key} means nothing on {subdir}", *at)
                    values[package] = self.string(declared[key], *at)
                    extra += [key, values[package].replace(".", "-")]
            # pixi takes what is declared and appends the defaults that are not.
            values |= {package: value for package, value in defaults.items() if package not in values}
            unknown = set(declared) - set(_VIRTUAL) - {"platform", "name"}
            if unknown:
                raise self.bad(f"unknown key of platform {subdir}: {', '.join(sorted(unknown))}", *at)
            # Without virtual packages of its own an entry is its subdir; with them it must not be named like one.
            name = self.string(declared.get("name", "-".join([subdir, *extra])), *at)
            if bool(extra) == (name == subdir):
                raise self.bad(f"{name} is no valid name for this platform", *at)
            packages = tuple(f"{package}={value}" for package, value in values.items())
            found[subdir] = Platform(name, subdir, packages)
        return found

    def feature(self, content: Table, platforms: dict[str, Platform], *at: str) -> Feature:
        unknown = set(content) - (_FEATURE_KEYS if at else _TOP_KEYS)  # the default feature is the file itself
        if unknown:
            raise self.bad(f"not supported by scripts/lock: {', '.join(sorted(unknown))}", *at, min(unknown))
        targets: dict[str, dict[str, Spec]] = {}
        known = {selector for platform in platforms for selector in _selectors(platform)}
        for selector, target in self.sub(content, *at, "target").items():
            if selector not in known:
                raise self.bad(f"target {selector} matches no platform", *at, "target", selector)
            unknown = set(self.table(target, *at, "target", selector)) - _TARGET_KEYS
            if unknown:
                raise self.bad(f"not supported by scripts/lock: {min(unknown)}", *at, "target", selector, min(unknown))
            targets[selector] = self.dependencies(target, *at, "target", selector, "dependencies")
        only = None
        if at and "platforms" in content:
            names = {platform.name: subdir for subdir, platform in platforms.items()}
            only = self.strings(content["platforms"], *at, "platforms")
            if unknown := set(only) - set(names):
                raise self.bad(f"no platform is named {min(unknown)}; there are {', '.join(names)}", *at, "platforms")
            only = tuple(names[name] for name in only)
        return Feature(self.dependencies(content, *at, "dependencies"), targets, only)

    def dependencies(self, parent: Table, *at: str) -> dict[str, Spec]:
        found = {}
        for name, value in self.sub(parent, *at).items():
            if not re.fullmatch(r"_?[a-z0-9][a-z0-9._-]*", name):
                raise self.bad(f"'{name}' is no package name", *at, name)
            if isinstance(value, dict):
                unknown = set(value) - {"version", "build"}
                if unknown or not value:
                    raise self.bad(
                        f"{name} may have version and build, not {', '.join(sorted(unknown)) or 'nothing'}", *at, name
                    )
                build = self.string(value.get("build", "*"), *at, name)
                version = self.string(value.get("version", "*"), *at, name)
                constraint = version if build == "*" else f"{version} {build}"
            else:
                constraint = self.string(value, *at, name)
            found[name] = Spec(name, _compact(constraint), self.where(*at, name))
        return found

    def environments(self, features: dict[str, Feature], platforms: dict[str, Platform]) -> dict[str, Environment]:
        declared = self.sub(self.data, "environments")
        notes = self.own("environments")
        if unknown := set(notes) - set(declared):
            raise self.bad(
                f"{min(unknown)} is described but not declared", "tool", "prefect-env", "environments", min(unknown)
            )
        found = {}
        for name, content in declared.items():
            at = ("environments", name)
            options: Table = {"features": content} if isinstance(content, list) else self.table(content, *at)
            if unknown := set(options) - {"features", "no-default-feature"}:
                raise self.bad(f"not supported by scripts/lock: {min(unknown)}", *at)
            names = self.strings(options.get("features", []), *at, "features")
            if unknown := set(names) - set(features):
                raise self.bad(f"environment {name}: no feature is named {min(unknown)}", *at)
            bare = options.get("no-default-feature", False)
            if not isinstance(bare, bool):
                raise self.bad("no-default-feature must be true or false", *at)
            # pixi puts the default feature last.
            used = names if bare or "default" in names else (*names, "default")
            only = [set(limit) for feature in used if (limit := features[feature].platforms) is not None]
            found[name] = Environment(
                name=name,
                purpose=self.string(notes.get(name, name), "tool", "prefect-env", "environments", name),
                features=used,
                platforms=tuple(subdir for subdir in platforms if all(subdir in limit for limit in only)),
                where=self.where(*at),
                _features=tuple(features[feature] for feature in used),
            )
            if not found[name].platforms:
                raise self.bad(f"environment {name} has no platform", *at)
        if "default" not in found:
            raise self.bad("there is no environment named default", "environments")
        return found

    def lines(self) -> dict[str, Line]:
        at = ("tool", "prefect-env", "lines")
        table = self.own("lines")
        found = {}
        for name, content in table.items():
            line = self.table(content, *at, name)
            if set(line) != {"prefect", "python"}:
                raise self.bad(f"line {name} must have prefect and python, nothing else", *at, name)
            found[name] = Line(name, self.string(line["prefect"], *at, name), self.string(line["python"], *at, name))
        return found


def _selectors(platform: str) -> frozenset[str]:
    """The target selectors that match a subdir."""
    kind = platform.partition("-")[0]
    families = {"linux": {"unix", "linux"}, "osx": {"unix", "osx", "macos"}, "win": {"win"}}[kind]
    return frozenset({platform, *families})


def _dotted(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[\w-]+", key))


def _compact(constraint: str) -> str:
    """A constraint without blanks around commas and bars; what follows a blank is a build."""
    return re.sub(r"\s*([,|])\s*", r"\1", constraint.strip())


def _channel_url(channel: str) -> str:
    """A channel's base URL; a bare name is one of anaconda.org's."""
    return channel.rstrip("/") if "://" in channel else f"https://conda.anaconda.org/{channel}"
