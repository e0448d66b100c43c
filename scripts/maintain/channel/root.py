"""A root of a Debian release: where programs run that want another glibc than this machine's.

Made by mmdebstrap from the machine's own apt sources with the suites exchanged: apt verifies what goes in. Packages are
unpacked and not set up, as only glibc, a shell and the usual small programs are needed; all else is in the prefix. So
it takes seconds and no root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maintain.channel.debian import STRICT, explain, require_host, sources
from maintain.channel.release import Release, of_host
from maintain.lib.errors import ToolError
from maintain.lib.files import exclusive
from maintain.lib.paths import cache_dir

PACKAGES = ("base-files", "bash", "coreutils", "dash", "findutils", "grep", "libc-bin", "sed")
"""glibc comes with them; libc-bin has the locale C.UTF-8."""

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/resolv.conf": "",
}
"""What setting the packages up would have written; the host's hosts and resolv.conf are laid over theirs."""

INSIDE = Path(__file__).with_name("inside.py")
KEEP = 30
"""Days for which the cache keeps a root that is not used; another process may be in one that we would not make."""


WAIT = 600.0
"""Seconds to wait for another process that makes the same root."""


@dataclass(frozen=True)
class Root:
    """A release's root; ``folder`` is None where it is this machine's own and programs run as they are."""

    release: Release
    folder: Path | None

    def command(self, words: Sequence[str | Path], binds: Sequence[Path] = ()) -> list[str]:
        """The command that runs ``words`` in this root, with the host's folders ``binds`` at the same paths.

        It has the network, the environment and (where it is bound) the working directory of whoever starts it. A
        signal to it, or to its group, reaches the program's group once; it ends as the program did, by a signal or with
        an exit code; when it ends in whatever way, no process and no mount of it is left.
        """
        plain = [str(word) for word in words]
        if self.folder is None:
            return plain
        folders = [str(path.absolute()) for path in binds]
        return [sys.executable, "-I", str(INSIDE), str(self.folder), *folders, "--", *plain]


def root_of(release: Release) -> Root:
    """The root of ``release``, made in the cache if it is not there.

    Raises ``unsupported-host`` (no apt, no such suite, no mounts for us), ``missing-program``, ``network``,
    ``signature``.
    """
    if release == of_host():
        return Root(release, None)
    require_host()
    parts = [release.name, PACKAGES, FILES, Path(__file__).read_text(encoding="utf-8")]
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    store = cache_dir() / "roots"
    root = Root(release, store / f"{release.name}-{key}")
    with exclusive(store / f".{release.name}.lock", what=f"the root of {release}", wait=WAIT):
        if not (store / f"{release.name}-{key}").is_dir():
            _make(release, store / f"{release.name}-{key}")
        os.utime(store / f"{release.name}-{key}")
    done = subprocess.run(root.command(["true"]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(
            "unsupported-host",
            f"programs cannot be run in a root of {release} here",
            where=str(root.folder),
            why=done.stderr.strip(),
            fix="run it as root, or where users may have namespaces of their own",
        )
    return root


def _make(release: Release, home: Path) -> None:
    """Make the root in the folder ``home``, which appears whole; drop what nobody has used for long."""
    program = shutil.which("mmdebstrap")
    if not program:
        raise ToolError(
            "missing-program",
            "mmdebstrap is not on PATH",
            why=f"it makes the root in which programs of {release} run",
            fix="apt-get install --no-install-recommends mmdebstrap",
        )
    oldest = time.time() - KEEP * 86400
    for old in home.parent.glob(f"{release.name}-*"):
        if old.stat().st_mtime < oldest:
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=f".{release.name}-", dir=home.parent) as name:
        folder = Path(name)
        (folder / "apt.conf").write_text(_settings(), encoding="utf-8")
        # `extract` starts nothing of the new system, so `chrootless` needs no right that a user lacks.
        command = [program, f"--mode={'root' if os.geteuid() == 0 else 'chrootless'}", "--variant=extract"]
        command += ["--format=directory", f"--include={','.join(PACKAGES)}", f"--aptopt={folder / 'apt.conf'}"]
        command += [release.name, str(folder / "root")]
        for file, text in sources(release).items():
            (folder / file).write_text(text, encoding="utf-8")
            command.append(str(folder / file))
        env = {**os.environ, "LC_ALL": "C", "TMPDIR": name}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise explain(done.stderr)
        for file, text in FILES.items():
            (folder / "root" / file).write_text(text, encoding="utf-8")
        shutil.rmtree(folder / "root" / "etc" / "apt")  # sources and settings, maybe with a proxy's password
        shutil.rmtree(folder / "root" / "dev")  # the host's is taken; whoever copies a cache must not meet /dev/zero
        (folder / "root" / "dev").mkdir()
        (folder / "root").chmod(0o755)
        (folder / "root").rename(home)


def _settings() -> str:
    """apt's settings for mmdebstrap, which reads none of the machine's: the way to the archive, and our strictness."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    kept = [line for line in dump.splitlines() if line.startswith("Acquire::")]
    strict = (option.partition("=") for option in STRICT)
    return "\n".join([*kept, *(f'{name} "{value}";' for name, _, value in strict)]) + "\n"
