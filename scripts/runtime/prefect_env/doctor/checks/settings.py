"""Prefect's settings: names that this release does not know, old names, files that are not in force."""

from __future__ import annotations

import difflib
import re

from prefect_env import effective
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, merged, ok, skip, warn

GROUP = "Settings"

OPEN = ("PREFECT_ENV_", "PREFECT__", "PREFECT_LOGGING_", "PREFECT_INTEGRATIONS_")
"""Beginnings of names that are not among Prefect's settings: ours, a run's, logging.yml's entries, integrations'."""

NOT_SETTINGS = {
    *("PREFECT_PROFILE", "PREFECT_PROJECT_PATH", "PREFECT_TEST_MODE", "PREFECT_TESTING_TEST_MODE"),
    *("PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES", "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"),
}
"""Read by Prefect, but no settings in its source."""


def _set(context: Context) -> dict[str, str]:
    """The names of the settings that are set, with their sources."""
    return {
        name: value.source
        for name, value in sorted(context.settings.values.items())
        if not name.startswith(OPEN) and name not in NOT_SETTINGS
    }


@check("settings-unknown", "Prefect knows every setting", Needs.FILES)
def unknown(context: Context) -> Result:
    """Names with a typing error, or of another release: Prefect ignores them without a word."""
    if not _set(context):
        return ok("none is set")
    names, old = context.known_settings
    if not names:
        return skip("Prefect's settings cannot be read")
    found = []
    for name, source in _set(context).items():
        if name not in names and name not in old:
            near = difflib.get_close_matches(name, names, 1, 0.8)
            fix = f"unset {name}" + (f", or did you mean {near[0]}?" if near else "")
            found.append(warn(f"{name} ({source})", f"Prefect {context.prefect} ignores it", fix))
    return merged(found, ok(f"{len(_set(context))} set"))


@check("settings-deprecated", "No setting has an old name", Needs.FILES)
def deprecated(context: Context) -> Result:
    """Names that this release still reads under a newer one."""
    if not _set(context):
        return ok("none is set")
    old = context.known_settings[1]
    found = [
        warn(
            f"{name} ({source}) is an old name",
            "a later release will not read it",
            f"use {old[name]}" if old[name] else f"unset {name}",
        )
        for name, source in _set(context).items()
        if name in old
    ]
    return merged(found, ok("none"))


@check("settings-files", "The settings files can be used", Needs.FILES)
def settings_files(context: Context) -> Result:
    """What an activation would warn of."""
    plan = context.plan
    texts = [text for text in (*plan.warnings, *plan.notes) if not text.startswith(f"{effective.USER}:")]
    fix = "correct the line; prefect-env show then says what is in force"
    return merged((warn(text, "that setting is not used", fix) for text in texts), ok(f"{len(plan.settings)} settings"))


@check("settings-active", "The settings files are in force", Needs.FILES)
def active(context: Context) -> Result:
    """What an activation would set from a settings file, and this session has not."""
    found = [
        warn(
            f"{name} is not what {source} says",
            "the environment is not active, or the file was changed since",
            "activate the environment again",
        )
        for name, (value, source) in context.plan.variables.items()
        if re.search(r":\d+$", source) and context.host.env.get(name) != value
    ]
    return merged(found, ok(f"{len(context.plan.settings)} settings"))
