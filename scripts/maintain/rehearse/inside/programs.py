"""Start every program that the named packages bring; run by the Python on trial. Exit code 1 if one does not start."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def main(packages: list[str]) -> int:
    """Each console script with ``--version``, and with ``--help`` where it knows none."""
    bad, good = [], []
    for package in packages:
        try:
            scripts = distribution(package).entry_points.select(group="console_scripts")
        except PackageNotFoundError:  # it is no package of Python's, or nothing stands for it
            continue
        for script in scripts:
            program = place(script.name)
            if not program.exists():
                bad.append(f"{script.name}: not there")
            elif any(starts(program, option) for option in ("--version", "--help")):
                good.append(script.name)
            else:
                bad.append(f"{script.name}: does not start")
    print(*good)  # noqa: T201
    print(*bad, sep="\n", file=sys.stderr)  # noqa: T201
    return int(bool(bad))


def place(name: str) -> Path:
    """Where the script lies: beside Python, in a folder and with a suffix of its own on Windows."""
    if sys.platform == "win32":
        return Path(sys.prefix, "Scripts", f"{name}.exe")
    return Path(sys.executable).with_name(name)


def starts(program: Path, option: str) -> bool:
    """Whether it ends well with that option."""
    done = subprocess.run(
        [str(program), option], capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
