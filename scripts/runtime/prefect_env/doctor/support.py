"""``prefect-env support``: what somebody needs who helps from afar, without any secret.

The bundle is a zip of text: the doctor's report, the recorded host (``prefect-env doctor --replay`` reads it), settings
and their sources, versions, the ends of logs. Variables outside of :data:`SHOWN` are named without their values, and
every text goes through :class:`prefect_env.redact.Redactor`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click

from prefect_env.console import CommandError, command, emit
from prefect_env.doctor import host as hosts
from prefect_env.doctor.command import as_data
from prefect_env.doctor.context import Context, Options
from prefect_env.doctor.registry import checks
from prefect_env.doctor.run import run
from prefect_env.files import atomic_write
from prefect_env.redact import HIDDEN, Redactor, is_secret, secrets_of
from prefect_env.settings import Value

SHOWN = re.compile(
    r"PREFECT_\w+|CONDA_\w+|PIXI_\w+|PYTHON\w+|LD_\w+|DYLD_\w+|\w+_proxy|SSL_CERT_\w+|\w+_CA_\w+|\w+_CERTS?|\w+_CAINFO"
    r"|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH|PATH|HOME|USERPROFILE|TMPDIR|TEMP|TMP|LANG|LC_\w+|TZ|SHELL|DO_NOT_TRACK|XDG_\w+",
    re.IGNORECASE,
)
"""Variables whose values say something about an environment."""

ASSIGNED = re.compile(r"^[ \t]*(?:export )?([\w.-]+)[ \t]*=[ \t]*(.+)$", re.MULTILINE)

LINES, BYTES = 200, 1 << 18
"""How much of a log's end is taken."""

README = """A support bundle of prefect-env, without secrets: they are replaced by {hidden}. Look through it before you
send it; host and user names, paths and package names are in it.

report.json    what prefect-env doctor found
host/          the host as recorded; to see the report of it: prefect-env doctor --replay host
settings.json  Prefect's settings and those of the settings files, with their sources
versions.txt   conda packages, then Python packages that did not come with conda
logs/          the ends of logs
"""


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to write the bundle.")
@click.option(
    "--log", "logs", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Add this log's end."
)
@click.option("--offline", is_flag=True, help="Leave out the checks that use the network.")
@command
def support(output: Path | None, logs: tuple[Path, ...], offline: bool, as_json: bool) -> None:
    """Write a bundle for support: report, settings, versions, logs; without secrets.

    \b
    Logs are those in PREFECT_HOME, and what --log names.
    Example:
      prefect-env support --log /var/log/prefect/server.log
    """
    missing = [str(path) for path in logs if not path.is_file()]
    if missing:
        raise CommandError("bad-usage", "there is no such log", where=", ".join(missing))
    context = Context(hosts.live(), Options(offline=offline))
    target = output or Path(f"prefect-env-support-{datetime.now().astimezone():%Y%m%d-%H%M%S}.zip")
    try:
        atomic_write(target, bundle(context, logs), mode=0o600)
    except OSError as error:
        raise CommandError("not-writable", "the bundle cannot be written", where=str(target), why=str(error)) from error
    emit({"bundle": str(target.absolute())}, f"{target.absolute()}", as_json=as_json)


def bundle(context: Context, logs: tuple[Path, ...] = ()) -> bytes:
    """The bundle's bytes."""
    redact = Redactor(_secrets(context))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _texts(context, logs):
            archive.writestr(redact(name), _clean(name, text, redact))
    return data.getvalue()


def _clean(name: str, text: str, redact: Redactor) -> str:
    """``text`` without secrets; of JSON its strings, so that it stays JSON."""
    if not name.endswith(".json"):
        return redact(text)
    return json.dumps(redact.data(json.loads(text)), indent=2, ensure_ascii=False)


def _secrets(context: Context) -> Iterator[str]:
    """Every secret that the host's variables, Prefect's settings and the settings files hold."""
    yield from secrets_of(context.host.env)
    yield from secrets_of({name: value.text for name, value in context.settings.values.items()})
    yield from secrets_of({name: value.text for name, value in context.plan.settings.items()})
    yield from secrets_of({name: value or "" for name, (value, _) in context.plan.variables.items()})
    folder, home = Path(context.host.folder), context.settings.home
    for path in (home / "profiles.toml", folder / ".env", folder / "prefect.toml", folder / "pyproject.toml"):
        for name, value in ASSIGNED.findall(_read(path)):  # of other profiles, too: they may be in a log
            yield from secrets_of({name: value.strip("\"' ")})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _texts(context: Context, logs: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    yield "README.txt", README.format(hidden=HIDDEN)
    yield "report.json", json.dumps(as_data(run(checks().values(), context)))
    env = {name: value if SHOWN.fullmatch(name) else "" for name, value in context.host.env.items()}
    for name, text in hosts.record(replace(context.host, env=env)).items():
        yield f"host/{name}", text
    yield "settings.json", json.dumps(_settings(context))
    yield "versions.txt", _versions(context)
    found = [*sorted(context.settings.home.glob("*.log")), *sorted(context.settings.home.glob("logs/*.log")), *logs]
    for number, path in enumerate(dict.fromkeys(found), 1):
        yield f"logs/{number:02}-{path.name}", _tail(path)


def _settings(context: Context) -> dict[str, object]:
    settings = context.settings
    return {
        "home": str(settings.home),
        "profile": settings.profile,
        "prefect": _shown(settings.values),
        "prefect-env": _shown(context.plan.settings),
        "problems": [*settings.problems, *context.plan.warnings, *context.plan.notes],
    }


def _shown(values: Mapping[str, Value]) -> dict[str, list[str]]:
    return {name: [HIDDEN if is_secret(name) else found.text, found.source] for name, found in sorted(values.items())}


def _versions(context: Context) -> str:
    packages = [
        " ".join(str(record.get(key, "")) for key in ("name", "version", "build", "channel"))
        for record in context.records
    ]
    projects = [f"{name} {version}" for name, version in context.host.packages.items()]
    return "\n".join([*packages, "", *projects, ""])


def _tail(path: Path) -> str:
    """The last :data:`LINES` lines of a log, of at most :data:`BYTES` bytes; the first may be cut: it is left out."""
    try:
        with path.open("rb") as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, length - BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"cannot be read: {error}\n"
    return "\n".join((lines[1:] if length > BYTES else lines)[-LINES:]) + "\n"
