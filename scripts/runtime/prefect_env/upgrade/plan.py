"""What an upgrade would do, found out without changing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_env.console import CommandError, mask
from prefect_env.db import backup, durable, servers
from prefect_env.db.base import Database, State
from prefect_env.db.prefix import Prefix, newer_than
from prefect_env.db.sqlite import Sqlite
from prefect_env.upgrade import link as links
from prefect_env.upgrade.steps import Situation, Step, applying


@dataclass
class Plan:
    """An upgrade that can be run if ``problems`` is empty. ``revision`` is where the database goes, None to leave it.

    ``down`` says that this is a downgrade by the same Prefect. ``home`` keeps the journal. ``trial`` starts the new
    environment's server before anything is changed.
    """

    situation: Situation
    steps: list[Step]
    home: Path
    backups: Path
    link: Path | None
    revision: str | None
    down: bool
    trial: bool
    notes: list[str]
    problems: list[CommandError]

    @property
    def starts_empty(self) -> bool:
        """Whether the database is set aside and a new one made."""
        return any(step.starts_empty for step in self.steps)

    @property
    def target(self) -> Database:
        """The database afterwards (the old one's place unless the new Prefect looks elsewhere)."""
        found = self.situation.target or self.situation.source
        assert found is not None  # noqa: S101 - asked for only where there is a database
        return found

    def require(self, check: Callable[..., object], *arguments: object) -> None:
        """Call ``check`` with ``arguments`` and keep what it raises as a problem."""
        try:
            check(*arguments)
        except CommandError as error:
            self.problems.append(error)

    def actions(self) -> list[str]:
        """What is done, in order, one line each."""
        situation, found = self.situation, []
        if self.revision and situation.source:
            at = situation.state.revision or "2.0a9 or earlier"
            sqlite = situation.source.kind == "sqlite"
            found.append(f"check {situation.source.where}" + (" and lock it" if sqlite else ""))
            found.append(f"back it up in {self.backups}")
            how = "downgrade" if self.down else "upgrade"
            if self.starts_empty:
                found.append(f"make a new, empty database with Prefect {situation.new.version}")
            else:
                copy = "a copy" if sqlite else "it"
                found.append(f"{how} {copy} from {at} to {self.revision} with Prefect {situation.new.version}")
            found.append("check revision, integrity and the rows of each table")
            if sqlite:
                found.append(f"put the copy in place of {self.target.where}")
        if self.link and links.target(self.link) != str(situation.new.path):
            found.append(f"switch {self.link} to {situation.new.path}")
        if found and self.trial:
            found.insert(0, f"try the server of Prefect {situation.new.version} on a database of its own")
        return found

    def as_dict(self) -> dict[str, Any]:
        """The plan as ``--json`` prints it."""
        situation = self.situation
        return {
            "from": {"prefix": str(situation.old.path), "prefect": str(situation.old.version)},
            "to": {"prefix": str(situation.new.path), "prefect": str(situation.new.version)},
            "database": situation.source.where if situation.source else None,
            "revision": situation.state.revision,
            "new_revision": self.revision,
            "steps": [{"title": step.title, "notes": step.notes(situation)} for step in self.steps],
            "notes": self.notes,
            "actions": self.actions(),
            "problems": [problem.fields for problem in self.problems],
        }

    def text(self) -> str:
        """The plan for people."""
        lines = [f"From {self.situation.old}", f"To   {self.situation.new}"]
        for step in self.steps:
            lines += ["", step.title, *(f"  - {note}" for note in step.notes(self.situation))]
        lines += ["", *(f"Note: {note}" for note in self.notes)] if self.notes else []
        if self.problems:
            lines += ["", "Cannot be done:"]
            for problem in self.problems:
                fields = problem.fields
                lines += [
                    f"  {fields['what']} ({fields['where']})",
                    f"    why: {fields['why']}",
                    f"    fix: {fields['fix']}",
                ]
        else:
            actions = self.actions() or ["nothing: the database and the link are as they should be"]
            lines += ["", "Will do:", *(f"  {number}. {action}" for number, action in enumerate(actions, 1))]
        return mask("\n".join(lines))


def make(
    old: Prefix,
    new: Prefix,
    *,
    url: str | None = None,
    backups: Path | None = None,
    link: Path | None = None,
    down_to: str | None = None,
    ignore_server: bool = False,
    untried: bool = False,
) -> Plan:
    """The plan for going from ``old`` to ``new``; with ``down_to`` (a revision), for a downgrade by ``new``.

    ``ignore_server`` says that a server on this machine that answers uses another database;
    ``untried`` that the server of another environment, which Prefect 1 has not, is not started for a trial.

    Raises :class:`CommandError` for what prevents even looking: a database that cannot be read, a bad URL.
    """
    home = (old if old.version.major > 1 else new).settings().home
    source = old.database(url)
    target = new.database(url)
    state = source.state() if source else State(None, frozenset())
    situation = Situation(old, new, source, target, state)
    if source and not state.empty:
        with source.session() as session:
            situation.counts = session.counts()
    plan = Plan(
        situation=situation,
        steps=[] if down_to else applying(situation),
        home=home,
        backups=backups or backup.folder_of(home),
        link=link,
        revision=None,
        down=down_to is not None,
        trial=not untried and new.version.major > 1 and new.path != old.path,
        notes=[],
        problems=[],
    )
    if source and not state.empty:
        _migration(plan, source, down_to, ignore_server=ignore_server)
    if link:
        plan.require(links.check, link)
    plan.problems += [problem for step in plan.steps if (problem := step.refusal(situation))]
    return plan


def _migration(plan: Plan, source: Database, down_to: str | None, *, ignore_server: bool) -> None:
    """Decide where the database goes, and what is in the way."""
    situation = plan.situation
    if situation.target and situation.target.kind != source.kind:
        plan.problems.append(
            CommandError(
                "bad-settings",
                f"the new environment uses a {situation.target.kind} database, the old one {source.kind}",
                where=situation.target.where,
                why="data are not moved between kinds of database",
                fix="name the database to keep with --url",
            )
        )
        return
    head = situation.new.head(source.kind)
    revision = situation.state.revision
    if revision and (error := newer_than(situation.new, source.kind, revision, source.where)):
        plan.problems.append(error)
        return
    goal = down_to or head
    if goal == revision and source.where == (situation.target or source).where:
        return
    plan.revision = goal
    if users := source.users():
        plan.require(source.busy, users)
    elif not ignore_server:
        plan.require(servers.none_answers, situation.old.settings(), source.where)
    size = source.size()
    if not isinstance(source, Sqlite):
        plan.require(durable.need_space, plan.backups, size)
        return
    # The copy, its log, and once more the biggest table, which SQLite's migrations copy.
    room = 3 * size
    if _same_disk(plan.backups, source.path):
        room += size
    else:
        plan.require(durable.need_space, plan.backups, size)
    plan.require(durable.need_space, source.path.parent, room)


def _same_disk(one: Path, other: Path) -> bool:
    while not one.exists():
        one = one.parent
    return one.stat().st_dev == other.stat().st_dev
