"""The installer on the target: verify, link, compile, settings, commit. Standard library only.

Run by the head (``heads/install.sh``, ``heads/install.cmd``) on the Python that the bundle carries, after the head has
checked the host and the hash of the whole file. What it prints on stdout with ``--json`` is one object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from maintain.bundle import ed25519, parallel, pyc, zstd
from maintain.bundle.layout import CHUNK, Bundle, Member
from maintain.bundle.link import PackageError, Place, link
from maintain.install import bytecode, conda_meta, prefix
from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import atomic_write, explained, from_oserror, fsync_dir

SITE = "etc/prefect-env/site.d"
RUNTIME = "prefect-env-runtime"
"""The package whose activation reads :data:`SITE`."""
ORPHANS = 2.0
"""Seconds to wait for the prefix: where an install was killed, its other processes notice after a package."""
CURRENT, PREVIOUS = "current", "previous"


def parser() -> argparse.ArgumentParser:
    """The options; the head shows the help and has taken what it does itself."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--bundle", type=Path, required=True)
    options.add_argument("--prefix", type=Path, required=True)
    options.add_argument("--versions", type=Path)
    options.add_argument("--base", type=Path)
    options.add_argument("--key", type=Path)
    options.add_argument("--site", type=Path, action="append", default=[])
    options.add_argument("--ca", type=Path)
    options.add_argument("--proxy")
    for flag in ("uninstall", "rollback", "verify-only", "airgap", "no-compile", "no-doctor", "json"):
        options.add_argument(f"--{flag}", action="store_true")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the options say; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        result = run(options)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again\n")
        return int(Exit.INTERRUPTED)
    except OSError as error:
        failure = from_oserror(error, options.prefix)
        return _report(failure, as_json=options.json)
    except ToolError as error:
        return _report(error, as_json=options.json)
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return int(Exit.DONE)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The command itself. Raises ToolError and OSError."""
    place = Path(os.path.abspath(options.prefix))  # noqa: PTH100 - a link in the path is the user's choice
    if options.rollback:
        return rollback(options.versions)
    if options.uninstall:
        return uninstall(place)
    bundle = Bundle(options.bundle)
    if options.key:
        check_signature(bundle, options.key)
    if options.verify_only:
        bundle.verify()
        return {"bundle": bundle.manifest["name"], "members": len(bundle.members), "verified": True}
    bundle.verify(only=[])  # the head has hashed it all, and every package is hashed again before it is linked
    changed = install(bundle, place, options)
    result: dict[str, Any] = {"prefix": str(place), "bundle": bundle.manifest["name"], "changed": changed}
    if options.versions:
        switch(options.versions, place.name)
        result["current"] = str(options.versions / CURRENT)
    if not options.no_doctor:
        result["doctor"] = doctor(place)
    _say(f"{place} {'is ready' if changed else 'is up to date'}")
    where = options.versions / CURRENT if options.versions else place
    _say(f"next: . {shlex.quote(str(where / 'activate'))} && prefect version")
    return result


def check_signature(bundle: Bundle, key: Path) -> None:
    """Raise ``signature`` unless the manifest is signed by the private part of ``key`` (a PEM file)."""
    why = "it carries no signature"
    with explained(key):
        text = key.read_text(encoding="ascii", errors="replace")
    try:
        public = ed25519.public_key(text)
        if bundle.signature is not None:
            why = "its signature was not made by this key for this bundle"
            if ed25519.verify(public, bytes.fromhex(bundle.signature), bundle.raw_manifest):
                return
    except ValueError as error:
        why = str(error)
    raise ToolError(
        "signature",
        "the bundle is not signed by this key; nothing of it was used",
        where=str(bundle.path),
        why=why,
        fix=f"ask who made it; the key is {key}",
    )


def install(bundle: Bundle, place: Path, options: argparse.Namespace) -> bool:
    """Make ``place`` hold the bundle's environment, all of it or nothing; False if it did already."""
    manifest = bundle.manifest
    settings = _settings(bundle, options)
    with prefix.held(place, ORPHANS):
        before = prefix.state(place)
        digest = hashlib.sha256(json.dumps([bundle.checksum, sorted(settings)]).encode()).hexdigest()
        old = conda_meta.load(place) if before else {}
        same = before is not None and before.get("bundle") == digest
        if same and before and (before["compiled"] or options.no_compile) and not conda_meta.damaged(place, old):
            return False
        new = prefix.staging(place)
        with explained(place):
            try:
                new.mkdir()
                records = _link(bundle, options, new, place)
                if not options.no_compile:
                    bytecode.compile_prefix(new, place, records, new.with_name(f"{new.name}-pyc"), lambda _: None)
                for record in records.values():
                    conda_meta.save(new, record)
                for name in bundle.members:
                    if name.startswith("activate/"):
                        (new / name.removeprefix("activate/")).write_bytes(bundle.read(name))
                _apply(settings, new, place, runtime=RUNTIME in records)
                history = place / "conda-meta" / "history"
                if before and history.is_file():
                    shutil.copy2(history, new / "conda-meta" / "history")
                command = f"{bundle.path.name} --prefix {place}"
                conda_meta.add_revision(new, command, manifest["specs"], old.values(), records.values())
                kept = {key: manifest[key] for key in ("environment", "channel", "specs", "plan")}
                prefix.write_state(new, kept | {"bundle": digest, "compiled": not options.no_compile})
                prefix.commit(place)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            finally:
                shutil.rmtree(new.with_name(f"{new.name}-pyc"), ignore_errors=True)
    return True


def _link(bundle: Bundle, options: argparse.Namespace, new: Path, place: Path) -> dict[str, conda_meta.Record]:
    """Verify and unpack every package into ``new``; returns the records for conda-meta by package name."""
    manifest = bundle.manifest
    sources = {name: (bundle, member) for name, member in bundle.members.items()}
    if bundle.delta:
        other = _base(bundle, options.base)
        by_hash = {member.sha256: member for member in other.members.values()}
        for entry in manifest["members"]:
            if entry["name"] in bundle.delta["absent"]:
                sources[entry["name"]] = (other, by_hash[entry["sha256"]])
    library = zstd.load(Path(sys.argv[0]).parent)

    def decompress(stream: BinaryIO, prefix: bytes = b"") -> BinaryIO:
        return cast(BinaryIO, zstd.Reader(library, stream, prefix))

    python, where = manifest["python"], Place(new, str(place), manifest["python"], manifest["site_packages"])
    (new / "conda-meta").mkdir()

    def one(package: dict[str, Any]) -> conda_meta.Record:
        archive, byte_code = package["member"], pyc.member(package["record"])
        modules: dict[str, bytes] = {}
        with explained(place):
            try:
                with checked(*sources[archive]) as stream:
                    record = link(stream, archive, where, decompress, package["record"], modules)
                if byte_code in sources and not options.no_compile:
                    with checked(*sources[byte_code]) as stream:
                        pyc.place(stream, new, record, python, modules, decompress)
            except PackageError as error:
                raise ToolError("command-failed", "a package cannot be unpacked", why=str(error)) from error
        return record

    packages = sorted(manifest["packages"], key=lambda package: -package["record"]["size"])
    _say(f"unpacking {len(packages)} packages ...")
    return {record["name"]: record for record in parallel.each(one, packages)}


def _base(bundle: Bundle, path: Path | None) -> Bundle:
    """The bundle that a delta was made against."""
    assert bundle.delta is not None  # noqa: S101 - for the type checker
    needed = f"this is a delta; it needs the bundle {bundle.delta['base']}"
    if path is None:
        raise ToolError("bad-usage", needed, where=str(bundle.path), fix="name that file: --base FILE")
    base = Bundle(path)
    if base.checksum != bundle.delta["checksum"]:
        raise ToolError("bad-usage", needed, where=str(path), why=f"this file is {base.manifest['name']}, another one")
    return base


def checked(bundle: Bundle, member: Member) -> BinaryIO:
    """The member to read from; ``hash-mismatch`` unless it has its SHA-256."""
    digest = hashlib.sha256()
    with bundle.open(member.name) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != member.sha256:
        raise bundle.refused(f"{member.name} does not have the sha256 of the manifest")
    return bundle.open(member.name)


def _settings(bundle: Bundle, options: argparse.Namespace) -> list[tuple[str, str]]:
    """The site's settings files (name, text): from the bundle, and from the command line above them."""
    found = [
        (f"20-{name.removeprefix('site.d/')}", bundle.read(name).decode())
        for name in bundle.members
        if name.startswith("site.d/")
    ]
    if options.airgap:
        found.append(("10-airgap.conf", bundle.read("profiles/airgap.conf").decode()))
    for path in (*options.site, *([options.ca] if options.ca else [])):
        with explained(path):
            name = "ca.pem" if path == options.ca else f"60-{path.name}"
            found.append((name, path.read_text(encoding="utf-8")))
    own = [f"HTTPS_PROXY={options.proxy}", f"HTTP_PROXY={options.proxy}"] if options.proxy else []
    if options.ca:
        own.append("CA_FILE=ca.pem")
    if own:
        found.append(("70-installer.conf", "\n".join(own) + "\n"))
    return found


def _apply(settings: list[tuple[str, str]], new: Path, place: Path, *, runtime: bool) -> None:
    """Write the settings into ``new``, after what the site had changed by hand in the old environment."""
    folder = new / SITE
    if (place / SITE).is_dir():
        shutil.copytree(place / SITE, folder, dirs_exist_ok=True)
    for name, text in settings:
        # Settings may hold a proxy's password; who may activate must read them, so the prefix decides who that is.
        atomic_write(folder / name, text)
    if settings and not runtime:
        _say(f"note: {RUNTIME} is not in this environment, so its settings files are not read; see OFFLINE.md")


def doctor(place: Path) -> str:
    """What the environment's own check says: ``ok``, ``failed`` (its output is shown), or ``none`` there."""
    program = place / ("Scripts/prefect-env.cmd" if os.name == "nt" else "bin/prefect-env")
    if not program.exists():
        return "none"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PREFECT_"))}
    env |= {"CONDA_PREFIX": str(place), "PATH": f"{program.parent}{os.pathsep}{env.get('PATH', os.defpath)}"}
    done = subprocess.run([str(program), "doctor", "--offline"], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return "failed" if done.returncode else "ok"


def uninstall(place: Path) -> dict[str, Any]:
    """Remove the environment at ``place``; only one that we installed. A killed run is finished by the next."""
    with prefix.held(place), explained(place):
        for link_name in (CURRENT, PREVIOUS):
            name = place.parent / link_name
            if name.is_symlink() and name.readlink().name == place.name:
                if link_name == CURRENT:
                    raise ToolError(
                        "busy",
                        "this version is the current one",
                        where=str(name),
                        fix="switch to another with --rollback, or remove the link, then run this again",
                    )
                name.unlink()
        there = prefix.state(place) is not None
        if there:
            place.rename(prefix.staging(place))  # from here on it is rubbish, also after a kill
            fsync_dir(place.parent)
            shutil.rmtree(prefix.staging(place))
    _say(f"{place} {'is removed' if there else 'was not there'}")
    return {"prefix": str(place), "changed": there}


def switch(versions: Path, name: str) -> None:
    """Point ``current`` at the version ``name`` in one step, and ``previous`` at what it was."""
    current = versions / CURRENT
    before = current.readlink() if current.is_symlink() else None
    if before is not None and before.name == name:
        return
    if before is not None:
        _point(versions / PREVIOUS, before.name)
    _point(current, name)


def _point(name: Path, target: str) -> None:
    temporary = name.with_name(f".{name.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.replace(name)
    fsync_dir(name.parent)


def rollback(versions: Path | None) -> dict[str, Any]:
    """Point ``current`` back at ``previous``."""
    if versions is None:
        raise ToolError("bad-usage", "--rollback needs --versions DIR")
    previous = versions / PREVIOUS
    if not previous.is_symlink() or prefix.state(versions / previous.readlink().name) is None:
        raise ToolError("bad-usage", "there is no version to go back to", where=str(previous))
    name = previous.readlink().name
    switch(versions, name)
    _say(f"{versions / CURRENT} is {name} again")
    return {"current": name}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _report(error: ToolError, *, as_json: bool) -> int:
    """Print an error in the house's form; returns its exit code."""
    if as_json:
        sys.stdout.write(json.dumps(error.as_dict(), indent=2) + "\n")
    else:
        lines = [f"error: {error.what} [{error.id}]"]
        lines += [f"  {key}: {value}" for key in ("where", "why", "fix") if (value := getattr(error, key))]
        sys.stderr.write("\n".join(lines) + "\n")
    return int(error.exit_code)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
