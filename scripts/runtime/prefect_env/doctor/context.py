"""What the checks share: the host, what is installed in its prefix, Prefect's settings and database; read once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prefect_env import effective, installed, prefect_settings
from prefect_env.doctor.host import Host
from prefect_env.settings import Value
from prefect_env.versions import Version

Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the checks may look at: the network, every byte, the server by a flow."""

    offline: bool = False
    deep: bool = False
    probe: bool = False


@dataclass
class Context:
    """The subject of the checks; every property is read when it is first asked for."""

    host: Host
    options: Options = field(default_factory=Options)
    notes: dict[str, Any] = field(default_factory=dict)
    """What one check found and another uses (the answer of the API server)."""

    @cached_property
    def prefix(self) -> Path:
        """The environment's folder, on this host."""
        return Path(self.host.prefix)

    @cached_property
    def site(self) -> Path:
        """The prefix's folder of Python packages."""
        return installed.site_packages(self.prefix)

    @cached_property
    def package(self) -> Path:
        """Prefect's own folder; of an editable checkout the one that a ``.pth`` file leads to."""
        package = self.site / "prefect"
        if package.is_dir():
            return package
        lines = (line for file in self.site.glob("*.pth") for line in file.read_text(errors="replace").splitlines())
        found = (Path(line) / "prefect" for line in lines if line and not line.startswith(("#", "import")))
        return next((folder for folder in found if folder.is_dir()), package)

    @cached_property
    def prefect(self) -> Version | None:
        """Prefect's version (or that of prefect-client); None where it is not installed."""
        return self.version("prefect") or self.version("prefect-client")

    def version(self, project: str) -> Version | None:
        """The version of a Python package of the prefix; None if it is not there, or has none."""
        try:
            return Version(self.host.packages[project])
        except (KeyError, ValueError):
            return None

    @cached_property
    def packages(self) -> list[installed.Package]:
        """The Python packages of the prefix; several copies of one are several packages."""
        return installed.packages(self.site)

    @cached_property
    def known_settings(self) -> tuple[set[str], dict[str, str]]:
        """The names of Prefect's settings, and old names with the new ones (:func:`installed.prefect_settings`)."""
        return installed.prefect_settings(self.package)

    @cached_property
    def _conda_meta(self) -> tuple[list[Record], dict[str, OSError | ValueError]]:
        good: list[Record] = []
        bad: dict[str, OSError | ValueError] = {}
        for path in sorted(self.prefix.glob("conda-meta/*.json")):
            try:
                content = json.loads(path.read_bytes())
                if not isinstance(content, dict):
                    raise ValueError("no JSON object")
                good.append(content)
            except (OSError, ValueError) as error:  # noqa: PERF203 - each of them
                bad[path.stem] = error
        return good, bad

    @property
    def records(self) -> list[Record]:
        """The conda packages of the prefix, from ``conda-meta``."""
        return self._conda_meta[0]

    @property
    def unread(self) -> dict[str, OSError | ValueError]:
        """The records that cannot be read, by file name, with the reason."""
        return self._conda_meta[1]

    @cached_property
    def floors(self) -> dict[str, Version]:
        """The least of each virtual package (``__glibc``, ...) that the installed packages take together.

        Where nothing is recorded, what our locks are solved for: RHEL 7 (pixi.toml, ``platforms``).
        """
        found = {"__glibc": Version("2.17"), "__linux": Version("3.10"), "__osx": Version("11.0")}
        for record in self.records if self.host.live else ():
            for spec in record.get("depends", ()):
                match = re.match(r"(__glibc|__linux|__osx|__win) >=([\d.]+)", spec)
                if match:
                    least = Version(match[2].rstrip("."))
                    found[match[1]] = max(found.get(match[1], least), least)
        return found

    @cached_property
    def settings(self) -> prefect_settings.Settings:
        """Prefect's settings, as it would resolve them here; of a recorded host only what the environment sets."""
        if not self.host.live:
            values = {name: Value(text, "environment") for name, text in self.host.env.items()}
            return prefect_settings.Settings(Path(self.host.env.get("PREFECT_HOME", "")), "", values)
        return prefect_settings.load(self.host.env, Path(self.host.folder or "."), self.prefect)

    @cached_property
    def database(self) -> prefect_settings.Database:
        """The database that Prefect would open."""
        return prefect_settings.database(self.settings, self.prefect)

    @cached_property
    def plan(self) -> effective.Plan:
        """What an activation would set from the settings files, with the warnings about them."""
        from prefect_env.state import user_environ

        return effective.plan(self.prefix, user_environ(self.host.env))
