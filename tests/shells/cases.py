"""The table of cases, made real: prefixes, settings files and the expected environments."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_env import effective, state
from shells.fixtures import Certificates, base_environment, certificates, make_prefix

TABLE = Path(__file__).with_name("cases.toml")
TWINS = {name.upper(): name for name in state.LOWER}
ROOTS = "root"
FORMS = ("sh", "csh", "data", "nu")


@dataclass(frozen=True)
class Case:
    """One row of the table, with its files laid out below ``place``."""

    row: Mapping[str, Any]
    place: Path
    certificates: Certificates
    name: str = "pre fix/it's $HOME `x` é"

    @property
    def prefix(self) -> Path:
        return self.place / self.name

    @property
    def environment(self) -> dict[str, str]:
        """The user's variables."""
        env = base_environment(self.place / "home")
        env["PREFECT_ENV_PROJECT"] = str(self.place / "project")
        env["XDG_CACHE_HOME"] = str(self.place / "cache dir")
        env.update({name: self.text(value) for name, value in self.row.get("env", {}).items()})
        return env

    def text(self, text: str) -> str:
        """``text`` with the names in braces replaced by files."""
        for name in ("root", "corp", "der", "crlf", "many", "key", "empty", "link", "missing"):
            text = text.replace("{" + name + "}", self.certificates.path(name))
        return text

    @property
    def bundle(self) -> Path | None:
        """The merged bundle that was made."""
        made = [*self.prefix.glob("etc/prefect-env/ca-*.pem"), *self.place.glob("cache dir/**/ca-*.pem")]
        assert len(made) <= 1, made
        return made[0] if made else None

    def activated(self) -> dict[str, str | None]:
        """What activation changes: name to value, None for unset."""
        changes = {}
        after = self.row.get("after", {})
        for name, value in after.items():
            new = None if value == "-" else self.text(value)
            changes[name] = new
            if name in TWINS and TWINS[name] not in after and self.environment.get(TWINS[name]) != new:
                changes[TWINS[name]] = new
        if "bundle" in self.row:
            assert self.bundle is not None, "no bundle was made"
            changes.update(
                {name: str(self.bundle) for name in effective.CA_VARIABLES if name not in self.row.get("keeps", ())}
            )
        return {name: value for name, value in changes.items() if self.environment.get(name) != value}

    def deactivated(self) -> dict[str, str | None]:
        """How the environment differs from what it was after deactivation."""
        return {name: None if value == "-" else value for name, value in self.row.get("finally", {}).items()}


def rows() -> list[dict[str, Any]]:
    """The rows of the table."""
    table: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["case"]
    return table


def lay_out(row: Mapping[str, Any], place: Path, *, prepare: bool = True, name: str = Case.name) -> Case:
    """Make a case's files below ``place``, and the state that an activation of it reads; ``name`` is the prefix's."""
    made = certificates(place.parent / "certificates")
    case = Case(row, place, made, name)
    prefix = make_prefix(case.prefix, roots=made.path(ROOTS), websockets=row.get("websockets"))
    (prefix / "etc" / "prefect-env" / "site-ca.pem").write_bytes(Path(made.path("corp")).read_bytes())
    for folder in ("home/.config/prefect-env", "project"):
        (place / folder).mkdir(parents=True)
    files = {
        "site": prefix / "etc/prefect-env/site.d/10-site.conf",
        "user": place / "home/.config/prefect-env/prefect-env.conf",
        "project": place / "project/prefect-env.conf",
    }
    for name, path in files.items():
        if name in row:
            path.write_text(case.text(row[name]), newline="")
    for form in FORMS if prepare else ():
        state.write(form, {**case.environment, "CONDA_PREFIX": str(prefix)})
    return case
