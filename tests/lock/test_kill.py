"""A lock that is killed leaves whole files, is noticed by scripts/check and mended by scripts/lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maintain.check.__main__ import findings
from maintain.lib.paths import ROOT
from maintain.lock.plan import Update
from maintain.lock.relock import relock
from support.tiny_channel import contents, restore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

# The child counts the calls that change the disk and kills itself, as the kernel would, before or after one of them.
CHILD = """
import os, pathlib, signal, sys
from maintain.lock.relock import relock
from maintain.lock.plan import Update

root, records, moment = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
count = 0

def dangerous(function):
    def wrapper(*arguments, **options):
        global count
        for step in (lambda: None, lambda: function(*arguments, **options)):
            result = step()
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
        return result
    return wrapper

pathlib.Path.replace = dangerous(pathlib.Path.replace)
pathlib.Path.unlink = dangerous(pathlib.Path.unlink)
os.fsync = dangerous(os.fsync)
relock(root, records, Update(everything=True))
"""


def killed(root: Path, records: Path, moment: int) -> bool:
    """Lock in a child that is killed at its ``moment``-th step; False if it came to its end before that."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    child = subprocess.run([sys.executable, "-c", CHILD, root, records, str(moment)], env=env, check=False)
    assert child.returncode in (0, -signal.SIGKILL)
    return child.returncode != 0


@pytest.mark.slow
def test_killed_at_any_moment(project: Path, records: Path) -> None:
    old = contents(project)
    text = (project / "pixi.toml").read_text()
    changed = text.replace('python = ">=3.12,<3.14"', 'python = ">=3.12,<3.13"').replace("tiny", "small")
    (project / "pixi.toml").write_text(changed)
    before = contents(project)
    relock(project, records, Update(everything=True))
    new = contents(project)
    moved = [path for path in new if new[path] != before.get(path)]
    assert "pixi.lock" in moved
    assert old["pixi.lock"] != new["pixi.lock"]
    moments = 0
    step = 13  # a file takes six steps, so this meets each kind of step and files from first to last
    while True:
        restore(project, before)
        if not killed(project, records, moments):
            break
        moments += step
        there = {path: data for path, data in contents(project).items() if not path.endswith(".tmp")}
        for path, data in there.items():
            assert data in (before.get(path), new.get(path)), f"{path} is neither old nor new"
        assert there.keys() >= before.keys() & new.keys()
        if there != new:
            assert findings(project), "an unfinished lock passes the check"
        relock(project, records, Update())
        assert findings(project) == []
        assert contents(project) == new
    assert moments > 4 * step
