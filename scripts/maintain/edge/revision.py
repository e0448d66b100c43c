"""A revision of Prefect's repository: cloned, resolved to a commit, built into a wheel."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from maintain import bootstrap
from maintain.channel.wheels import Pin, Wheel
from maintain.install.network import masked
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file

UI = ("src/prefect/server/ui/index.html", "src/prefect/server/ui-v2/index.html")
"""What `npm run build` makes of Prefect's user interface; a released sdist has it, a clone has not."""


@dataclass(frozen=True)
class Revision:
    """A checked-out commit. Git names objects by their hash, so ``commit`` stands for the content."""

    folder: Path
    commit: str
    """40 (or 64) hex digits."""

    @property
    def has_ui(self) -> bool:
        """Whether the user interface is built."""
        return any((self.folder / page).is_file() for page in UI)


def checkout(url: str, rev: str, folder: Path) -> Revision:
    """Clone ``url`` (a URL or a local clone) into ``folder`` and check out ``rev``: a branch, tag or commit.

    Raises ``network`` (it cannot be cloned), ``bad-usage`` (no such revision), ``missing-program``.
    """
    # Old files are fetched from a server only when they are needed; a local clone has them anyway.
    partial = ["--filter=blob:none"] if "://" in url else []
    cloned = git("clone", "--quiet", "--no-checkout", *partial, "--", url, str(folder))
    if cloned.returncode:
        raise ToolError(
            "network",
            "the repository cannot be cloned",
            where=masked(url),
            why=masked(cloned.stderr.strip()),
            fix="check URL, HTTPS_PROXY and SSL_CERT_FILE (git: http.sslCAInfo), or name a local clone with --git",
        )
    for name in (f"refs/remotes/origin/{rev}", rev):
        found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", cwd=folder)
        if found.returncode == 0:
            break
    else:
        raise ToolError(
            "bad-usage", f"there is no revision {rev}", where=masked(url), fix="name a branch, tag or commit"
        )
    commit = found.stdout.strip()
    done = git("checkout", "--quiet", "--detach", commit, cwd=folder)
    if done.returncode:
        raise ToolError("network", "the revision cannot be checked out", where=commit, why=masked(done.stderr.strip()))
    return Revision(folder, commit)


def git(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run git; it never asks for a password."""
    try:
        return subprocess.run(
            ["git", *words],
            cwd=cwd,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError("missing-program", "git is not on PATH", fix="install git, then run it again") from error


def build(revision: Revision, folder: Path) -> Wheel:
    """The wheel of ``revision``, made in ``folder`` by our hash-pinned build tools (``requirements/build.txt``).

    pip's own build isolation would fetch the newest build tools without a hash, so it is off, and pip says if the
    revision wants others than ours.
    """
    command = [str(bootstrap.environment("build")), "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-deps", "--no-build-isolation", "--check-build-dependencies"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(revision.folder)], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("prefect-*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ToolError(
            "command-failed",
            "the revision cannot be built",
            where=revision.commit,
            why="\n".join(done.stderr.strip().splitlines()[-8:]) or f"wheels: {sorted(folder.glob('*.whl'))}",
            fix="if it wants other build tools: add them to requirements/build.in, then scripts/lock --tools",
        )
    version = wheels[0].name.split("-")[1]
    return Wheel(wheels[0], Pin("prefect", version, (sha256_file(wheels[0]),)))
