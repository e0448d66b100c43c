"""Install: plan, fetch and verify, link beside the prefix, check, compile, take the prefix's place."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rattler
from rattler import Config, PackageCache, ValidationMode
from rattler.exceptions import InstallerError

from maintain.install import bytecode, conda_meta, fetch, plan, prefix
from maintain.install.choice import Choice
from maintain.install.conda_meta import Record
from maintain.install.network import configuration, masked
from maintain.install.plan import Package, Plan
from maintain.lib.console import Silent, progress
from maintain.lib.errors import ToolError
from maintain.lib.files import existing_parent, explained, from_oserror
from maintain.lib.paths import RUNTIME, cache_dir
from maintain.lib.server import Inside

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ACTIVATE = RUNTIME / "activate"
UNPACKED = 2
"""A set of packages takes at least this many times its archives' size: 50 MB of Prefect's make 203 MB."""


@dataclass(frozen=True)
class Result:
    """What an install did, as ``--json`` prints it."""

    prefix: str
    environment: str
    channel: str
    why: str
    how: str
    packages: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: bool
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self)


def default_prefix(name: str) -> Path:
    """Where an environment or line goes unless ``--prefix`` says otherwise: the user's own data folder.

    ``$XDG_DATA_HOME/prefect-env/NAME`` (``~/.local/share``, on macOS too, since ``Application Support`` has a
    blank that shebang lines cannot hold), ``%LOCALAPPDATA%\\prefect-env\\NAME`` on Windows.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "prefect-env" / name


def install(
    target: Path,
    choice: Choice,
    *,
    environment: str = "default",
    line: str | None = None,
    compile_bytecode: bool = True,
    dry_run: bool = False,
    wait: float = 0,
    planner: Callable[[Choice, Config], Plan] | None = None,
    inside: Inside = list,
) -> Result:
    """Make ``target`` hold ``environment`` (or release ``line``) from the chosen channel; all of it or nothing.

    A ``planner`` says what to install instead, ``inside`` where the environment's Python runs.
    ``wait`` is how many seconds another install into the same prefix is waited for, before ``busy``.
    Raises :class:`ToolError`: ``bad-usage``, ``network``, ``hash-mismatch``, ``no-hash``, ``unsatisfiable``,
    ``unsupported-host``, ``not-writable``, ``disk-full``, ``unsafe-cache``, ``not-ours``, ``busy``.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would write a network share's real path into files
    if target.is_symlink():
        target = target.resolve()
    config = configuration()
    with prefix.held(target, wait):
        before = prefix.state(target)
        planner = planner or partial(plan.make, environment=environment, line=line)
        wanted = planner(choice, config)
        records = conda_meta.load(target) if before else {}
        broken = conda_meta.damaged(target, records)
        old = {conda_meta.stem(record) for record in records.values()}
        new = {package.stem for package in wanted.packages}
        same = (
            before is not None
            and before.get("plan") == wanted.digest
            and (before.get("compiled") or not compile_bytecode)
            and not broken
            and not conda_meta.differences(records, wanted.packages)
        )
        result = Result(
            str(target),
            wanted.name,
            wanted.channel,
            choice.why,
            wanted.how,
            len(wanted.packages),
            tuple(sorted(new - old)),
            tuple(sorted(old - new)),
            changed=not same,
            dry_run=dry_run,
        )
        if same or dry_run:
            return result
        _make(target, wanted, config, records, broken, compile_bytecode=compile_bytecode, inside=inside)
    return result


def _make(
    target: Path,
    wanted: Plan,
    config: Config,
    before: dict[str, Record],
    broken: set[str],
    *,
    compile_bytecode: bool,
    inside: Inside,
) -> None:
    new = prefix.staging(target)
    _check_space(wanted.packages, target)
    with progress() as bar, explained(target):
        pristine = fetch.pristine(wanted.packages)
        if not pristine:
            task = bar.add_task("fetching", total=len(wanted.packages))
            asyncio.run(fetch.fetch(wanted.packages, config, lambda _: bar.advance(task)))
        try:
            if before:
                prefix.copy(target, new, {file for record in before.values() for file in record["files"]})
            else:
                new.mkdir()
            asyncio.run(_link(new, target, wanted, config, broken, bar, pristine=pristine))
            records = _checked(new, wanted, before)
            if not pristine:  # py-rattler has just hashed the files of every package that it linked
                fetch.remember(
                    (package.sha256, records[package.name]["extracted_package_dir"])
                    for package in wanted.packages
                    if before.get(package.name, {}).get("sha256") != package.sha256
                )
            if compile_bytecode:
                task = bar.add_task("compiling", total=None)
                bytecode.compile_prefix(
                    new, target, records, cache_dir() / "pyc", lambda count: bar.advance(task, count), inside
                )
            for record in records.values():
                conda_meta.save(new, record)
            _add_activation(new)
            conda_meta.add_revision(new, _command(), wanted.specs, before.values(), records.values())
            prefix.write_state(
                new,
                {
                    "environment": wanted.name,
                    "channel": wanted.channel,
                    "specs": wanted.specs,
                    "plan": wanted.digest,
                    "compiled": compile_bytecode,
                },
            )
            prefix.commit(target)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def _command() -> str:
    """This command as it can be repeated, without credentials."""
    return masked(
        shlex.join(["scripts/install" if sys.argv[0].endswith("__main__.py") else sys.argv[0], *sys.argv[1:]])
    )


def _check_space(packages: Sequence[Package], target: Path) -> None:
    """Raise ``disk-full`` before any work where the packages cannot fit; what is in the cache needs no room."""
    cache = fetch.package_cache()
    sizes = [package.record.size or 0 for package in packages if not fetch.archive(package).exists()]
    _need(cache, sum(sizes) * (1 + UNPACKED))
    if existing_parent(target.parent).stat().st_dev != cache.stat().st_dev:  # no hard links from the cache
        _need(existing_parent(target.parent), sum(package.record.size or 0 for package in packages) * UNPACKED)


def _need(place: Path, size: int) -> None:
    free = shutil.disk_usage(place).free
    if free < size:
        raise ToolError(
            "disk-full",
            "there is not enough room",
            where=str(place),
            why=f"at least {size >> 20} MiB are needed, {free >> 20} MiB are free",
            fix="free some space, choose another --prefix, or set PREFECT_ENV_CACHE to another disk",
        )


class _Reporter:
    """py-rattler's callbacks, of which one is a step of the progress bar."""

    def __init__(self, bar: Progress | Silent, task: TaskID) -> None:
        self.bar, self.task = bar, task

    def on_transaction_start(self, total_operations: int) -> None:
        self.bar.update(self.task, total=total_operations)

    def on_transaction_operation_complete(self, _operation: int) -> None:
        self.bar.advance(self.task)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *_: 0
        raise AttributeError(name)


async def _link(
    new: Path, target: Path, wanted: Plan, config: Config, broken: set[str], bar: Progress | Silent, *, pristine: bool
) -> None:
    """Have py-rattler unpack the verified archives and link them into ``new`` with the paths of ``target``."""
    records = []
    for package in wanted.packages:
        url = fetch.archive(package).as_uri()
        records.append(rattler.RepoDataRecord(package.record, package.record.file_name, url, wanted.channel))
    mode = ValidationMode.skip() if pristine else ValidationMode.full()
    cache = PackageCache.new_layered([fetch.package_cache() / "unpacked"], True, mode)
    try:
        await rattler.install(
            records,
            new,
            package_cache=cache,
            reinstall_packages=broken,
            execute_link_scripts=False,
            alternative_target_prefix=target,
            config=config,
            reporter=_Reporter(bar, bar.add_task("linking", total=None)),
        )
    except InstallerError as error:
        raise _explain(error, target) from error


def _explain(error: InstallerError, target: Path) -> ToolError:
    """py-rattler's error as ours: it names the system's error in words only."""
    text = masked(str(error))
    number = re.search(r"os error (\d+)", text)
    if number and int(number[1]) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
        fuller = min((fetch.package_cache(), target.parent), key=lambda place: shutil.disk_usage(place).free)
        return from_oserror(OSError(int(number[1]), os.strerror(int(number[1]))), fuller)
    return ToolError("command-failed", "the packages cannot be linked", where=str(target), why=text.replace("\n", "; "))


def _checked(new: Path, wanted: Plan, before: dict[str, Record]) -> dict[str, Record]:
    """The records of ``new``, completed; raises unless they are the plan's and an update lost none of their files."""
    records = conda_meta.load(new)
    wrong = conda_meta.differences(records, wanted.packages)
    if before:  # to unlink one package may take the file of another; to link alone cannot
        wrong += [f"files of {name} are missing" for name in sorted(conda_meta.damaged(new, records))]
    if wrong:
        raise ToolError("command-failed", "the linked packages are not the planned ones", why="; ".join(wrong[:5]))
    conda_meta.adopt(records, wanted)
    return records


def _add_activation(new: Path) -> None:
    """Copy the activation scripts of every shell to the top of the prefix."""
    for script in ACTIVATE.iterdir():
        if os.name == "nt" or script.suffix != ".bat":
            (new / script.name).unlink(missing_ok=True)
            shutil.copyfile(script, new / script.name)
