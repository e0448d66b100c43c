"""Run prefect-env and die at the Nth thing it does to files or processes: ``python killer.py N ARGUMENTS``.

``N`` is 0 to live and print how many there were. SIGKILL comes before the thing is done, so every gap between two
things is met by some N.
"""

import os
import signal
import sys

from prefect_env.cli import main

EVENTS = (
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "sqlite3.connect",
    "subprocess.Popen",
)
limit = int(sys.argv.pop(1))
count = 0


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Count what changes something."""
    global count  # noqa: PLW0603 - a hook has no other place
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in EVENTS:
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
try:
    main()
finally:
    if not limit:
        sys.stderr.write(f"things: {count}\n")
