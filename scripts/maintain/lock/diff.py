"""What changed between two solutions, for people and for the changelog."""

from __future__ import annotations

from dataclasses import dataclass

from maintain.lock.package import Package, Solution, megabytes


@dataclass(frozen=True)
class Change:
    """One package that was added, removed or moved in one environment on one platform."""

    name: str
    before: Package | None
    after: Package | None

    @property
    def bytes(self) -> int:
        """How much larger the download became."""
        return (self.after.size or 0 if self.after else 0) - (self.before.size or 0 if self.before else 0)

    def text(self) -> str:
        """One line: + added, - removed, from -> to; builds only where the version stayed."""
        if self.before is None and self.after is not None:
            return f"+ {self.after.id}"
        if self.after is None and self.before is not None:
            return f"- {self.before.id}"
        assert self.before is not None and self.after is not None  # one of the two exists  # noqa: S101
        if self.before.version != self.after.version:
            return f"  {self.name} {self.before.version} -> {self.after.version}"
        return f"  {self.name} {self.after.version}: {self.before.build} -> {self.after.build}"

    def as_dict(self) -> dict[str, str | int | None]:
        """The change as ``--json`` prints it; size in bytes."""
        return {
            "name": self.name,
            "from": f"{self.before.version} {self.before.build}" if self.before else None,
            "to": f"{self.after.version} {self.after.build}" if self.after else None,
            "size": self.after.size if self.after else None,
            "size_change": self.bytes,
        }


Changes = dict[tuple[str, str], list[Change]]
"""(environment, conda subdir) -> its changes, sorted by name; without those that have none."""


def compare(before: Solution, after: Solution) -> Changes:
    """What changed from ``before`` to ``after``; by URL and hash, so a rebuilt file counts."""
    found: Changes = {}
    for key in sorted(set(before) | set(after)):
        old = {package.name: package for package in before.get(key, ())}
        new = {package.name: package for package in after.get(key, ())}
        changes = [
            Change(name, old.get(name), new.get(name))
            for name in sorted(set(old) | set(new))
            if _identity(old.get(name)) != _identity(new.get(name))
        ]
        if changes:
            found[key] = changes
    return found


def _identity(package: Package | None) -> tuple[str, str | None] | None:
    return (package.url, package.sha256) if package else None


def lines(changes: Changes) -> list[str]:
    """The changes for a terminal, one block per environment and platform."""
    found = []
    for (environment, subdir), group in changes.items():
        total = sum(change.bytes for change in group)
        found.append(
            f"{environment} on {subdir}: {len(group)} packages, {'+' if total >= 0 else '-'}{megabytes(abs(total))} MB"
        )
        found += [f"  {change.text()}" for change in group]
    return found


def markdown(changes: Changes) -> list[str]:
    """The changes for the changelog: a package that moved alike in several places is listed once."""
    places: dict[str, list[str]] = {}
    for (environment, subdir), group in changes.items():
        for change in group:
            places.setdefault(change.text().strip(), []).append(f"{environment}/{subdir}")
    everywhere = len(changes)
    found = []
    for text, where in sorted(places.items(), key=lambda item: item[0].lstrip("+- ")):
        found.append(f"- `{text}`" + ("" if len(where) == everywhere else f" ({', '.join(where)})"))
    return found
