"""The session that a command speaks of: what an activation sets now, whether or not there was one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect_env import effective, state
from prefect_env.console import CommandError
from prefect_env.settings import PROJECT_FILE, project_file, site_dir, user_file


@dataclass(frozen=True)
class Session:
    """``own`` are the user's variables without an activation, ``environ`` those with it, ``plan`` the difference."""

    prefix: Path
    own: Mapping[str, str]
    environ: Mapping[str, str]
    plan: effective.Plan


def current() -> Session:
    """The session of this process. Raises CommandError ``not-writable`` if the CA bundle cannot be written."""
    prefix = state.here(os.environ)
    own = state.user_environ(os.environ)
    try:
        plan = state.prepare(prefix, own, state.folder(prefix, own))
    except OSError as error:
        raise CommandError(
            "not-writable", "cannot write the CA bundle", where=error.filename, why=error.strerror
        ) from error
    environ = dict(own)
    for name, (value, _) in plan.variables.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return Session(Path(prefix), own, environ, plan)


def settings_file(where: str) -> Path:
    """The settings file of a layer that commands write to: ``site``, ``user`` or ``project``.

    Raises CommandError ``bad-usage`` if there is no project.
    """
    if where == "site":
        return site_dir(Path(state.here(os.environ))) / f"50-{PROJECT_FILE}"
    if where == "user":
        return user_file(os.environ)
    path = project_file(os.environ)
    if path is None:
        raise CommandError("bad-usage", "there is no project", fix="set PREFECT_ENV_PROJECT to its folder")
    return path
