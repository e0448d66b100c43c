"""The Debian packages that tests use: shells and servers, listed in ``tests/apt.txt``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from maintain.lib.console import say
from maintain.lib.paths import ROOT

LIST = ROOT / "tests" / "apt.txt"


def wanted(path: Path = LIST) -> dict[str, str]:
    """The listed packages, name -> why it is needed."""
    packages = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, why = line.partition("#")
        if name.strip():
            packages[name.strip()] = why.strip()
    return packages


def missing(names: list[str]) -> list[str]:
    """Those of ``names`` that are neither a program on PATH nor installed as dpkg knows it.

    The first matters where a program came another way: Debian's npm conflicts with a newer nodejs that brings it.
    """
    names = [name for name in names if not shutil.which(name)]
    if not names or not shutil.which("dpkg-query"):
        return names
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def install() -> None:
    """Install what is missing, when this process may; else say what is missing and go on.

    A test whose shell or server is not there is skipped with that reason, so nothing is silent.
    """
    lacking = missing(list(wanted()))
    if not lacking:
        return
    if not shutil.which("apt-get") or os.name == "nt" or os.geteuid() != 0:
        say(f"not installed, so their tests will be skipped: {' '.join(lacking)}")
        if shutil.which("apt-get"):
            say(f"  to run them too: sudo apt-get install --no-install-recommends {' '.join(lacking)}")
        return
    say(f"installing {len(lacking)} Debian packages for the tests ...")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"]
    _apt(["update", *quiet], env)
    if not _apt(["install", "--yes", "--no-install-recommends", *quiet, *lacking], env):
        for name in lacking:  # one that cannot be had must not cost the others
            _apt(["install", "--yes", "--no-install-recommends", *quiet, name], env)


def _apt(arguments: list[str], env: dict[str, str]) -> bool:
    # Services that a package would start (squid, nginx) stay down: tests start their own on loopback.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
    try:
        done = subprocess.run(["apt-get", *arguments], env=env, capture_output=True, text=True, check=False)
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    if done.returncode != 0:
        say(f"apt-get {' '.join(arguments)} failed:\n{done.stderr.strip()}")
    return done.returncode == 0
