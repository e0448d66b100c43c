"""Write down what an activation sets, in a form that the shells' scripts read without starting a process.

``python -I -m prefect_env.state FORMAT`` is what the scripts start when there is no such file or it is stale. It writes

* ``state.FORMAT``: first the conditions under which it holds, then what to set;
* ``apply-KEY.FORMAT``: what to set, without conditions; its path is printed, and the script reads it at once, so that
  two activations at the same time with different variables cannot read each other's.

Records are (kind, name, value). Conditions: ``user NAME VALUE`` the user's variable is so (``+`` and its value, or
nothing for unset), ``file STAMP PATH`` has the date of the file STAMP, ``none STAMP PATH`` does not exist. Actions:
``set NAME VALUE``, ``unset NAME -``, ``warn - TEXT``. FORMAT ``data`` is one record a line, ``oem`` the same in the
code page of cmd.exe, ``delayed`` that for ``cmd /V:ON``, which would expand ``!NAME!`` in a value, ``nu`` the same
without HTTP_PROXY and the like, since nushell takes them for http_proxy and so on; ``sh`` and ``csh`` are code, since
csh cannot read a file and dash reads it byte by byte.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from prefect_env import bundle, effective
from prefect_env.files import atomic_write
from prefect_env.settings import printable

Record = tuple[str, str, str]
MARKER = "__PREFECT_ENV"
OLD, SET = f"{MARKER}_OLD_", f"{MARKER}_SET_"
"""Per variable: what it was (``+value``, or unset) and what we left (``+value``, or ``-`` for unset)."""

LOWER = {name for name in effective.MANAGED if name.islower()}
NEVER: Record = ("none", "-", ".")
"""A condition that fails always."""

MAX_WARNING = 1000
"""Longest warning in characters."""

KEPT = 8
"""How many ``apply`` files of past activations stay."""


def user_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` as it would be after deactivation."""
    own = {name: value for name, value in environ.items() if not name.startswith(MARKER)}
    for name in effective.MANAGED:
        left = environ.get(SET + name)
        if left == ("+" + environ[name] if name in environ else "-"):
            own.pop(name, None)
            old = environ.get(OLD + name, "")
            if old:
                own[name] = old[1:]
    return own


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The user's cache folder, by the same rule as the scripts'."""
    if environ.get("PREFECT_ENV_CACHE"):
        return Path(environ["PREFECT_ENV_CACHE"])
    if effective.WINDOWS:
        return Path(environ.get("LOCALAPPDATA", "")) / "prefect-env"
    return Path(environ.get("XDG_CACHE_HOME") or environ.get("HOME", "") + "/.cache") / "prefect-env"


def folder(prefix: str, environ: Mapping[str, str]) -> Path:
    """Where the state of ``prefix`` is kept, made and only the user's; a private temporary folder if need be.

    Raises OSError if there is no such place.
    """
    below = prefix.replace(":", "") if effective.WINDOWS else prefix
    # /tmp, not TMPDIR: the csh script looks there too; _mine() refuses what another user planted
    temporary = Path(f"/tmp/prefect-env-{os.geteuid()}" if hasattr(os, "geteuid") else tempfile.gettempdir())  # noqa: S108
    for base in (cache_dir(environ), temporary):
        with suppress(OSError):
            return _folder_in(base, below)
    raise PermissionError(
        errno.EACCES, "cannot write there; PREFECT_ENV_CACHE may name another folder", str(cache_dir(environ))
    )


def _folder_in(base: Path, below: str) -> Path:
    """The folder ``prefixes/below`` in ``base``. Raises OSError unless it can be written."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    _mine(base)
    place = Path(f"{base}/prefixes/{below.lstrip('/')}")
    place.mkdir(parents=True, exist_ok=True)
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot write", str(place))
    return place


def here(environ: Mapping[str, str]) -> str:
    """The prefix that a command speaks of: the active one, else that of its Python."""
    return environ.get("CONDA_PREFIX") or sys.prefix


def _mine(path: Path) -> None:
    """Raise PermissionError if another user could write what we will read from ``path``."""
    if hasattr(os, "geteuid"):
        status = os.lstat(path)
        if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
            raise PermissionError(errno.EACCES, "not yours alone", str(path))


def prepare(prefix: str, environ: Mapping[str, str], home: Path, form: str | None = None) -> effective.Plan:
    """The plan for activating ``prefix`` with its CA bundle written, in the prefix or in ``home``. Raises OSError.

    Without a ``form`` what is said is for the host's usual shell.
    """
    plan = effective.plan(Path(prefix), environ)
    if plan.ca_sources or plan.ca_system:
        names = [str(path) for path, _ in plan.ca_sources] + ["system"] * plan.ca_system
        target = bundle.place(Path(prefix), home, names, shared=plan.ca_shared)
        plan.warnings += bundle.write(target, plan.ca_sources, windows_store=plan.ca_system)
        plan.watched.append(target)
        effective.use_bundle(plan, environ, str(target))
    for name, (value, _) in list(plan.variables.items()):
        problem = _problem(value or "", environ.get(name, ""), form or ("oem" if effective.WINDOWS else "data"))
        if problem:
            plan.warnings.append(f"{name} {problem}; left as it is")
            del plan.variables[name]
    return plan


def records(
    prefix: str, environ: Mapping[str, str], home: Path, form: str = "data"
) -> tuple[list[Record], list[Record]]:
    """The conditions and the actions of activating ``prefix``; writes the CA bundle and the stamps.

    ``environ`` is the user's own, ``home`` the folder of the state, ``form`` what it is for. Raises OSError.
    """
    encoding = _encoding(form)
    plan = prepare(prefix, environ, home, form)
    conditions = [("user", name, _was(name, environ)) for name in (*effective.MANAGED, *effective.READ)]
    conditions += [_watch(path, home) for path in dict.fromkeys(plan.watched) if _visible(path)]
    # A line feed in a variable, say, cannot be written down as one record: such an environment is worked out each time.
    if not all(printable(text) and _fits(text, encoding) and not effective.too_long(text) for _, _, text in conditions):
        conditions = [NEVER]
    actions: list[Record] = [("set", MARKER, "1")] if plan.variables else []
    for name, (value, _) in plan.variables.items():
        if name in environ:
            actions.append(("set", OLD + name, _was(name, environ)))
        actions.append(("set", SET + name, "-" if value is None else "+" + value))
        actions.append(("unset", name, "-") if value is None else ("set", name, value))
    actions += [("warn", "-", _message(text, form)) for text in plan.warnings]
    return conditions, actions


def _was(name: str, environ: Mapping[str, str]) -> str:
    """``+`` and the value of a variable, or nothing if it is unset."""
    return "+" + environ[name] if name in environ else ""


def _visible(path: Path) -> bool:
    """Whether cmd.exe can look for ``path``: it would take some for a pattern; no file on Windows has these names."""
    return not (effective.WINDOWS and (set('*?"<>|') & set(str(path)) or effective.too_long(str(path))))


def _fits(text: str, encoding: str) -> bool:
    """Whether a file in ``encoding`` can hold ``text``; paths may have bytes that are not UTF-8."""
    try:
        text.encode(encoding, errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _problem(new: str, old: str, form: str) -> str | None:
    """Why a variable cannot be set to ``new`` and be ``old`` again afterwards; None if it can."""
    if effective.WINDOWS and '"' in old:
        return "holds a quote, which cmd.exe cannot put back"
    if not printable(old) or effective.too_long(old):
        return "has a control character or is too long, so that not every shell could put it back"
    if form == "delayed" and "!" in new + old:
        return "holds an exclamation mark, which cmd /V:ON would expand"
    if not _fits(new + old, _encoding(form)):
        return f"needs a character that the console's code page {_encoding(form)} does not have (chcp 65001 has all)"
    return None


def _message(text: str, form: str) -> str:
    """A warning as the shell can say it; cmd.exe would stop at a line of more than 8191 characters."""
    text = text if len(text) < MAX_WARNING else f"{text[:MAX_WARNING]}..."
    text = text if _fits(text, _encoding(form)) else ascii(text)[1:-1]
    return text.replace("!", "?") if form == "delayed" else text


def _watch(path: Path, home: Path) -> Record:
    """A condition on ``path``. Its stamp has its date (and on Windows its size: cmd.exe sees whole minutes only)."""
    stamp = home / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    try:
        status = path.stat()
    except OSError:
        return ("none", str(stamp), str(path))
    stamp.touch()
    if effective.WINDOWS and path.is_file():
        os.truncate(stamp, status.st_size)
    os.utime(stamp, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return ("file", str(stamp), str(path))


def data(conditions: list[Record], actions: list[Record]) -> str:
    """One record a line: kind, name and value with one space between; a stamp by its name in the same folder."""
    lines = [
        (kind, Path(name).name if kind in ("file", "none") else name, value)
        for kind, name, value in conditions + actions
    ]
    return "".join(" ".join(record) + "\n" for record in lines)


def _sh_quote(text: str) -> str:
    """One POSIX shell word. shlex.quote() leaves ``=`` bare where it finds nothing else, and zsh expands ``:=ls``."""
    return "'" + text.replace("'", "'\\''") + "'"


def sh(conditions: list[Record], actions: list[Record]) -> str:
    """POSIX shell code to be sourced: sets ``__pe_fresh``, unless it is stale, and everything else.

    It never fails: under ``set -e`` dash would leave the user's shell, even where a condition sources it.
    """
    quote = _sh_quote
    tests = []
    for kind, name, value in conditions:
        path = quote(value)
        if kind == "user":
            tests.append(f'[ "${{{name}++${name}}}" = {path} ]')
        elif kind == "none":
            tests.append(f"[ ! -e {path} ]")
        else:
            stamp = quote(name)
            tests.append(f"[ -e {path} ] && ! [ {path} -nt {stamp} ] && ! [ {path} -ot {stamp} ]")
    sets = [f"{name}={quote(value)}" for kind, name, value in actions if kind == "set"]
    code = ["if " + " &&\n".join(tests or ["true"]) + "; then", "__pe_fresh=1"]
    code += [" \\\n ".join(["export", *sets])] if sets else []
    code += [f"unset {name}" for kind, name, _ in actions if kind == "unset"]
    code += [f"printf '%s\\n' {quote('prefect-env: ' + value)} >&2" for kind, _, value in actions if kind == "warn"]
    code.append("fi")
    return "\n".join([*code, ""])


def _csh_quote(text: str) -> str:
    """One csh word: ``!`` is history and ``\\`` may be special even in single quotes."""
    for char, safe in (("\\", "\\\\"), ("'", "\\'"), ("!", "\\!")):
        text = text.replace(char, f"\0{safe}\0")
    return "".join(part if index % 2 else f"'{part}'" for index, part in enumerate(text.split("\0")))


def csh(conditions: list[Record], actions: list[Record]) -> str:
    """C shell code to be sourced: leaves ``__pe_fresh`` 0 if stale, else everything is set."""
    quote = _csh_quote
    code = ["set __pe_fresh = 1"]
    for kind, name, value in conditions:
        path = quote(value)
        if kind == "user":
            code += ["set __pe_now = ''", f"if ( $?{name} ) then", f"set __pe_now = +${name}:q", "endif"]
            code.append(f"if ( x$__pe_now:q != x{path} ) set __pe_fresh = 0")
        elif (kind, name, value) == NEVER:  # the script reads this file again when Python has just written it
            code.append("if ( $__pe_try == state ) set __pe_fresh = 0")
        elif kind == "none":
            code.append(f"if ( -e {path} ) set __pe_fresh = 0")
        else:
            code.append(f"if ( ! -e {path} || -M {path} != -M {quote(name)} ) set __pe_fresh = 0")
    code.append("if ( $__pe_fresh ) then")
    for kind, name, value in actions:
        if kind == "set":
            code.append(f"setenv {name} {quote(value)}")
        elif kind == "unset":
            code.append(f"unsetenv {name}")
        else:  # csh cannot write to stderr itself
            code.append(f"/bin/sh -c 'echo \"$1\" >&2' sh {quote('prefect-env: ' + value)}")
    return "\n".join([*code, "endif", ""])


Render = Callable[[list[Record], list[Record]], str]
FORMATS: dict[str, Render] = {"data": data, "oem": data, "delayed": data, "nu": data, "sh": sh, "csh": csh}
CMD = ("oem", "delayed")


def write(form: str, environ: Mapping[str, str]) -> Path:
    """Write the state for the format ``form``; the path of the file to apply now. Raises OSError, ValueError."""
    prefix = environ.get("CONDA_PREFIX", "")
    if not Path(prefix).is_absolute() or not printable(prefix):
        raise ValueError("CONDA_PREFIX is no absolute path without control characters")
    own = user_environ(environ)
    home = folder(prefix, own)
    if form == "nu":
        own = {name.lower() if name.lower() in LOWER else name: value for name, value in own.items()}
    conditions, actions = records(prefix, own, home, form)
    if form == "nu":
        conditions, actions = _one_case(conditions), _one_case(actions)
    render = FORMATS[form]
    _put(home / f"state.{form}", render(conditions, actions), form)
    content = render([], actions)
    key = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:16]
    apply = home / f"apply-{key}.{form}"
    _put(apply, content, form)
    past = sorted(home.glob("apply-*"), key=lambda path: path.stat().st_mtime)
    for path in past[:-KEPT]:
        path.unlink()
    return apply


def _one_case(wanted: list[Record]) -> list[Record]:
    """``wanted`` without the upper-case twins of lower-case variables."""
    upper = {name.upper() for name in LOWER}
    return [record for record in wanted if record[1].replace(OLD, "").replace(SET, "") not in upper]


def console_encoding() -> str:
    """How a console program's bytes are read: cmd.exe and PowerShell use the console's code page."""
    if sys.platform != "win32":
        return "utf-8"
    import ctypes

    return f"cp{ctypes.windll.kernel32.GetConsoleOutputCP()}"


def _encoding(form: str) -> str:
    """How the shell reads its file."""
    return console_encoding() if form in CMD else "utf-8"


def _put(path: Path, text: str, form: str) -> None:
    """Write what shells read: the user's only, bytes as they came."""
    atomic_write(path, text.encode(_encoding(form), errors="surrogateescape"), mode=0o600)


def main() -> None:
    """Print the file to apply; on failure one line on stderr, for an activation must go on."""
    try:
        answer = f"{write(sys.argv[1], os.environ)}\n".encode(console_encoding(), errors="surrogateescape")
        sys.stdout.buffer.write(answer)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"prefect-env: settings are not applied: {error}\n")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
