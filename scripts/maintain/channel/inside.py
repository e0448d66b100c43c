"""Run a program in another root: ``python -I inside.py ROOT FOLDER... -- WORD...``; standard library only.

ROOT is a folder with a system in it, and stays as it is; each FOLDER of the host is there at the same path, and so are
/dev, the network, the environment and the working directory. Mounts and processes are private: whatever way this
ends, the kernel takes all of them along. Without root a user namespace of our own gives the right to mount.

Three processes: this one passes signals on and waits; ``init`` is the first of the new process namespace; the program
is the third. unshare(1) is not used since its first process is the program itself, which then ignores each
signal that it has no handler for, and since unshare passes nothing on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
PR_SET_PDEATHSIG = 1
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FAILED = 125
"""The exit code when the root cannot be entered; else it is the program's."""

NETWORK = ("etc/hosts", "etc/resolv.conf")
"""Files of the host that say how names are resolved."""


def main(words: list[str]) -> int:
    """Enter the root, run the program, return its exit code, negative if a signal ended it."""
    root, rest = Path(words[0]), words[1:]
    split = rest.index("--")
    folders, program = [Path(word) for word in rest[:split]], rest[split + 1 :]
    _unshare()
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # none is lost before its handler is there
    waiting, alive = os.pipe()
    told, tell = os.pipe()  # a first process cannot be ended by a signal, as the program may have been
    init = os.fork()
    if init == 0:
        os.close(alive)
        _die_with_parent(waiting)
        os.setsid()  # what is sent to our group must not reach the program twice
        try:
            _enter(root, folders)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"cannot enter {root}: {error}\n")
            sys.stderr.flush()
            os._exit(FAILED)
        os.write(tell, str(_run(program)).encode())
        os._exit(0)
    os.close(waiting)
    os.close(tell)
    os.write(alive, b".")
    failed = _wait(init, group=False)
    return int(os.read(told, 16) or failed)


def _run(program: list[str]) -> int:
    """As the first process of the namespace: run ``program`` in a group of its own until it ends."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        try:
            os.execvp(program[0], program)
        except OSError as error:
            sys.stderr.write(f"{program[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(127)
    with suppress(OSError):
        os.setpgid(child, child)  # by both, so that it is done before either goes on
    return _wait(child, group=True)


def _wait(child: int, *, group: bool) -> int:
    """Pass signals on to ``child`` (with ``group``, as a terminal or killpg does, to its children too) till it ends."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        ended, status = os.wait()  # init also gets the orphans of its namespace
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWPID | (CLONE_NEWUSER if user else 0)
    if libc.unshare(flags):
        sys.exit(f"this machine lets nobody like us have mounts of their own: {os.strerror(ctypes.get_errno())}")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _die_with_parent(waiting: int) -> None:
    """Be killed when the parent is, also if it was before we could ask for that."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not os.read(waiting, 1):
        os._exit(FAILED)
    os.close(waiting)


def _enter(root: Path, folders: list[Path]) -> None:
    """Put the new root together in memory, of the system's folders and the host's, and go there."""
    here = Path.cwd()
    new = root / "tmp"  # any empty folder of it: only this namespace sees what is mounted there
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(new))
    for entry in sorted(root.iterdir()):
        place = new / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.name in ("usr", "etc"):
            place.mkdir()
            _mount("--bind", str(entry), str(place))
            with suppress(subprocess.CalledProcessError):  # a user namespace may not change every file system's flags
                _mount("-o", "remount,bind,ro", str(place))
        else:
            place.mkdir()
    (new / "tmp").chmod(0o1777)
    for name in NETWORK:
        if Path("/", name).exists() and (new / name).exists():
            _mount("--bind", f"/{name}", str(new / name))
    _mount("--rbind", "/dev", str(new / "dev"))
    try:
        _mount("-t", "proc", "proc", str(new / "proc"))
    except subprocess.CalledProcessError:  # in a container that hides parts of /proc nobody gets a whole one
        _mount("--rbind", "/proc", str(new / "proc"))
    for folder in sorted(folders):
        place = new / folder.relative_to("/")
        place.mkdir(parents=True, exist_ok=True)
        _mount("--rbind", str(folder), str(place))
    os.chroot(new)
    os.chdir(here if here.is_dir() else "/")


def _mount(*words: str) -> None:
    subprocess.run(
        ["mount", *words], check=True, stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code < 0:  # end in the same way, so that the caller sees what it would without us
        with suppress(OSError):  # nothing is caught of SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
