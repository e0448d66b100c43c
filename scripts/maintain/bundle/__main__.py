"""The command line of ``scripts/pack``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rattler import Subdir

from maintain.bundle import engine, target
from maintain.bundle.contents import Contents
from maintain.bundle.layout import Bundle
from maintain.bundle.write import Result, join, write
from maintain.install import fetch, plan
from maintain.install.choice import choose
from maintain.install.network import configuration
from maintain.install.plan import Package, Plan
from maintain.lib.console import emit, main, out, progress, say, tool
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, explained
from maintain.lib.paths import LOCK, ROOT
from maintain.lock import lockfile
from maintain.mirror.selection import channel, select, size_of


@click.group(epilog="Example: scripts/pack create --platform linux-64 --source ./mirror/conda-forge")
def cli() -> None:
    """Pack an environment into one file, for hosts without a network; verify and join such files."""


@cli.command(epilog="Example: scripts/pack create --env server --platform linux-64 --split 650M --key release.pem")
@click.option("--env", "environment", default="default", metavar="NAME", help="An environment of the lock [default].")
@click.option("--platform", "platforms", multiple=True, metavar="SUBDIR", help="May be repeated [this host's].")
@click.option("--lock", "lock", type=click.Path(path_type=Path), default=LOCK, help="The lock file [pixi.lock].")
@click.option("--source", metavar="URL|DIR", help="The channel or mirror to take the packages from [the lock's].")
@click.option("--stand-in", metavar="DIR", help="Solve this stand-in channel instead of a lock; for trial only.")
@click.option("--output", type=click.Path(path_type=Path), default=ROOT / "dist", help="The folder to write to [dist].")
@click.option("--format", "formats", type=click.Choice(["installer", "tar"]), multiple=True,
              help="The self-extracting installer, the plain bundle, or both [installer].")  # fmt: skip
@click.option("--split", metavar="SIZE", help="Cut into volumes of this size: 650M, 4G.")
@click.option("--delta", type=click.Path(path_type=Path), metavar="FILE", help="Without what this bundle has.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Sign with it (scripts/pack key).")
@click.option("--byte-code/--no-byte-code", default=True, help="Compile here, not on the target [--byte-code].")
@click.option("--site", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True, metavar="FILE",
              help="A settings file that every installation gets; may be repeated.")  # fmt: skip
@tool
def create(
    environment: str,
    platforms: tuple[str, ...],
    lock: Path,
    source: str | None,
    stand_in: str | None,
    output: Path,
    formats: tuple[Any, ...],
    split: str | None,
    delta: Path | None,
    key: Path | None,
    byte_code: bool,
    site: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write installer or bundle, lock, list, SBOM, info and hashes, for any platform on any platform."""
    formats = formats or ("installer",)
    signer = _private(key) if key else None
    base = Bundle(delta) if delta else None
    plans = _stand_in(stand_in, environment) if stand_in else _locked(lock, environment, platforms, source)
    results = []
    for wanted, subdir, virtual, python in plans:
        compiler = {package.sha256: package for package in python if byte_code}
        _fetch([*({package.sha256: package for package in wanted.packages} | compiler).values()])
        contents = Contents(
            wanted,
            subdir,
            {package.name: fetch.archive(package) for package in wanted.packages},
            virtual,
            site,
            {package.name: fetch.archive(package) for package in compiler.values()},
            installer="installer" in formats,
        )
        with progress() as bar:
            bar.add_task(f"packing {contents.name}", total=None)
            results.append(
                write(contents, output, formats=formats, split=size_of(split) if split else None, base=base, key=signer)
            )
    emit([_json(result) for result in results], lambda: _show(results), as_json=as_json)


def _locked(lock: Path, environment: str, platforms: tuple[str, ...], source: str | None) -> list[Any]:
    """(plan, subdir, virtual packages, a Python for this host) of each platform, from a lock file."""
    read = lockfile.read(lock)
    rows = {row.subdir: row.virtual_packages for row in read.rows.values()}
    here = str(Subdir.current())
    chosen = select(read, (environment,), platforms or (here,), source)
    known = {subdir for name, subdir in read.records if name == environment}
    own = select(read, (environment,), (here,), source)[environment, here] if here in known else ()
    return [
        (Plan(name, channel(found[0]), (), found, "lock"), subdir, rows[subdir], _python(own, found))
        for (name, subdir), found in sorted(chosen.items())
    ]


def _python(own: Sequence[Package], target: Sequence[Package]) -> tuple[Package, ...]:
    """The packages of ``own``, this host's, that are needed to run its Python, if that is the target's release."""
    versions = [{str(one.record.version) for one in some if one.name == "python"} for some in (own, target)]
    if versions[0] != versions[1]:
        return ()
    return tuple(package for package in own if package.name in ("python", *engine.LIBRARIES))


def _stand_in(folder: str, environment: str) -> list[Any]:
    choice = choose(folder)
    say(str(choice))
    wanted = plan.make(choice, configuration(), environment=environment, line=None)
    return [(wanted, str(Subdir.current()), (), _python(wanted.packages, wanted.packages))]


def _fetch(packages: Sequence[Package]) -> None:
    with progress() as bar:
        task = bar.add_task("fetching", total=len(packages))
        asyncio.run(fetch.fetch(packages, configuration(), lambda _: bar.advance(task)))


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="The public key it must be signed with.")
@tool
def verify(bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check every byte of a bundle, an installer's tar or a set of volumes (name the .001) against its manifest."""
    opened = Bundle(bundle)
    if key:
        target.check_signature(opened, key)
    opened.verify()
    result = {"bundle": opened.manifest["name"], "manifest": opened.checksum, "members": len(opened.members),
              "signed": opened.signature is not None, "verified": True}  # fmt: skip
    emit(result, lambda: out.print(f"{bundle} is whole: {len(opened.members)} members", markup=False), as_json=as_json)


@cli.command(name="join")
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("delta", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@tool
def join_command(base: Path, delta: Path, output: Path, as_json: bool) -> None:
    """Make the full bundle of a delta and the bundle it was made against: the same bytes as if packed at once."""
    join(Bundle(base), Bundle(delta), output)
    emit({"bundle": str(output)}, lambda: out.print(str(output), markup=False), as_json=as_json)


@cli.command()
@click.argument("private", type=click.Path(path_type=Path))
@tool
def key(private: Path, as_json: bool) -> None:
    """Make an Ed25519 key: PRIVATE (mode 600, keep it) and PRIVATE.pub (give it to those who verify)."""
    if private.exists():
        raise ToolError("bad-usage", "there is a key already", where=str(private), fix="name another file")
    made = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    atomic_write(
        private,
        made.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        mode=0o600,
    )
    public = private.with_name(f"{private.name}.pub")
    atomic_write(public, made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    emit({"public": str(public)}, lambda: out.print(str(public), markup=False), as_json=as_json)


def _private(path: Path) -> Ed25519PrivateKey:
    with explained(path):
        raw = path.read_bytes()
    try:
        found = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError) as error:
        raise ToolError("bad-file", "the key cannot be read", where=str(path), why=str(error)) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ToolError("bad-file", "the key is no Ed25519 key", where=str(path), fix="make one: scripts/pack key FILE")
    return found


def _json(result: Result) -> dict[str, Any]:
    return {"name": result.name, "manifest": result.sha256, "files": [str(file) for file in result.files]}


def _show(results: list[Result]) -> None:
    for result in results:
        for file in result.files:
            out.print(f"{file.stat().st_size / 1e6:8.1f} MB  {file}", markup=False)


if __name__ == "__main__":
    main(cli)
