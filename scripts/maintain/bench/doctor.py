"""``prefect-env doctor --offline`` beside ``prefect version``, in the same environment."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from maintain.channel.build import OUTPUT, build_channel
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib.errors import ToolError
from maintain.lib.measure import Row, alternate
from maintain.lib.paths import BUILD
from maintain.lib.server import environment, program

LINE = "3"


def rows() -> list[Row]:
    """Seconds of both, warm, with byte code; the doctor is to take less than half."""
    prefix = BUILD / "bench" / "doctor"
    install(prefix, choose(str(build_channel((LINE,), OUTPUT))), line=LINE)
    with tempfile.TemporaryDirectory() as home:
        env = environment(prefix, Path(home))

        def call(name: str, *arguments: str) -> None:
            command = [str(program(prefix, name)), *arguments]
            done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False)
            if done.returncode:
                why = (done.stdout + done.stderr).strip()[-800:]
                raise ToolError("command-failed", f"{name} {' '.join(arguments)} failed", why=why)

        call("prefect", "version")
        ours, theirs = alternate(
            lambda: call("prefect-env", "doctor", "--offline"), lambda: call("prefect", "version"), rounds=5
        )
    return [Row("doctor --offline", ours, "prefect version", theirs, aim=0.5)]
