"""Debian packages from the archive that this machine's apt is set up for: found, verified, unpacked; no root needed.

The chain of trust is apt's own: its index files are signed and hold each package's SHA-256. Nothing here weakens it;
what apt does not trust is refused, and every file is checked against the index again before it is used.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from maintain.channel.release import Release, of_host
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, sha256_file, verify_sha256

STRICT = [
    "APT::Get::AllowUnauthenticated=false",
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "Acquire::AllowDowngradeToInsecureRepositories=false",
    "APT::Sandbox::User=root",  # the download folder is ours, apt's own user could not write to it
]
POCKETS = ("", "-updates", "-security")
"""The suites of a release, by what follows its name; others (backports, a vendor's) are not taken."""

INSTEAD = "use conda-forge or a mirror of it: scripts/demo --channel URL; the stand-in needs Debian 12 or 13, x86_64"


@dataclass(frozen=True)
class Deb:
    """One package file of the archive, as apt's signed index lists it; ``path`` is where the cache keeps it."""

    name: str
    version: str
    file: str
    sha256: str
    path: Path


@dataclass(frozen=True)
class Content:
    """What a Debian package holds: regular files (path -> data, executable) and links, and the glibc it wants."""

    files: dict[str, tuple[bytes, bool]]
    links: dict[str, str]
    glibc: tuple[int, ...]


def require_host() -> None:
    """Raise ``unsupported-host`` unless this is an x86_64 Linux with apt."""
    system = f"{platform.system()} {platform.machine()}"
    if system != "Linux x86_64" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        why = "it has no apt-get" if system == "Linux x86_64" else f"this is {system}"
        raise ToolError("unsupported-host", "this machine cannot make the stand-in channel", why=why, fix=INSTEAD)


class Archive:
    """The archive of ``release``, through apt-get, with downloads kept in ``cache`` by their SHA-256.

    The machine's own index is used; where that lacks a package or names a file that is gone, a private one is
    fetched into ``cache``, so that neither root nor a change to the machine is needed. Of a release that is not the
    machine's own the index is always private, from the machine's sources with the other suites.
    """

    def __init__(self, cache: Path, release: Release | None = None) -> None:
        self.cache = cache
        self.release = release or of_host()
        self.foreign = self.release != of_host()
        self.private = self.foreign
        self.updated = False

    def _apt(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        options = list(STRICT)
        if self.private:
            state = self.cache / (f"apt-{self.release.name}" if self.foreign else "apt")
            for part in ("lists/partial", "cache/archives/partial"):
                (state / part).mkdir(parents=True, exist_ok=True)
            options += [f"Dir::State::lists={state}/lists", f"Dir::Cache={state}/cache"]
            if self.foreign:
                options += self._foreign(state)
        command = ["apt-get", "--quiet", *(word for option in options for word in ("-o", option)), *arguments]
        env = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    def _foreign(self, state: Path) -> list[str]:
        """Options for an apt that knows the other release's suites, and neither what is installed nor pinned here."""
        parts = state / "sources.list.d"
        shutil.rmtree(parts, ignore_errors=True)
        for name, text in sources(self.release).items():
            atomic_write(parts / name, text)
        atomic_write(state / "status", "")
        return [
            "Dir::Etc::SourceList=/dev/null",
            f"Dir::Etc::SourceParts={parts}",
            "Dir::Etc::Preferences=/dev/null",
            "Dir::Etc::PreferencesParts=/dev/null",
            f"Dir::State::status={state}/status",
        ]

    def fetch(self, names: list[str], *, update: bool = False) -> list[Deb]:
        """The newest trusted version of each package, downloaded where the cache lacks it, verified in any case.

        ``update`` renews a private index first; the machine's own is its administrator's to renew.
        Raises ``unsupported-host`` if the archive has no such package, ``signature``, ``hash-mismatch``, ``network``.
        """
        if update and self.private:
            self._update()
        try:
            return self._download(self._resolve(names))
        except _StaleIndexError:
            return self._download(self._resolve(names))

    def _resolve(self, names: list[str]) -> list[Deb]:
        done = self._apt("--print-uris", "download", *names)
        trouble = done.stderr
        if done.returncode and not self.updated and "authenticated" not in trouble:
            update = self._update()
            done = self._apt("--print-uris", "download", *names)
            trouble = update.stderr if update.returncode or "Failed to fetch" in update.stderr else done.stderr
        if done.returncode:
            raise explain(trouble)
        debs = [self._parse(line) for line in done.stdout.splitlines() if line.startswith("'")]
        return sorted(debs, key=lambda deb: names.index(deb.name))

    def _update(self) -> subprocess.CompletedProcess[str]:
        """Fetch a private index. Sources that are not needed may fail: what counts is what is found with it."""
        self.private = self.updated = True
        return self._apt("update")

    def _parse(self, line: str) -> Deb:
        """One line of ``apt-get --print-uris``: 'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HEX."""
        _, file, _, digest = line.split()
        kind, _, value = digest.partition(":")
        name, version, _ = file.split("_")
        if kind != "SHA256":
            raise ToolError("signature", f"apt's index has no SHA-256 for {name}", why=f"it has {digest}", fix=INSTEAD)
        return Deb(name, version.replace("%3a", ":"), file, value, self.cache / "debs" / f"{value}.deb")

    def _download(self, debs: list[Deb]) -> list[Deb]:
        missing = [deb for deb in debs if not (deb.path.exists() and sha256_file(deb.path) == deb.sha256)]
        if missing:
            store = self.cache / "debs"
            store.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=store) as folder:
                done = self._apt("download", *(f"{deb.name}={deb.version}" for deb in missing), cwd=Path(folder))
                if done.returncode and "404 " in done.stderr and not self.updated:
                    self._update()
                    raise _StaleIndexError
                if done.returncode:
                    raise explain(done.stderr)
                for deb in missing:
                    file = Path(folder, deb.file)
                    verify_sha256(file, deb.sha256, source=f"the Debian archive, {deb.name} {deb.version}")
                    file.replace(deb.path)
        return debs


def sources(release: Release) -> dict[str, str]:
    """The machine's apt sources with ``release``'s suites for its own: file name -> content; both of apt's formats.

    What names no suite of the machine's release (a vendor's repository) is left out. Raises ``unsupported-host``.
    """
    suites = {of_host().name + pocket: release.name + pocket for pocket in POCKETS}
    found = {}
    for path in _source_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        changed = _deb822(text, suites) if path.suffix == ".sources" else _one_line(text, suites)
        if changed:
            found[path.name] = changed
    if not found:
        raise ToolError(
            "unsupported-host",
            f"this machine's apt sources cannot serve {release}",
            why=f"none of them names the suite {of_host().name}",
            fix=INSTEAD,
        )
    return found


def _source_files() -> list[Path]:
    """Where apt has its sources here, as its own settings say."""
    shell = "eval $(apt-config shell one Dir::Etc::SourceList/f parts Dir::Etc::SourceParts/d); echo $one; echo $parts"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False)
    one, parts = (Path(line) for line in (done.stdout + "\n\n").split("\n")[:2])
    listed = sorted(path for path in parts.glob("*") if path.suffix in (".list", ".sources")) if parts.is_dir() else []
    return [path for path in (one, *listed) if path.is_file()]


def _one_line(text: str, suites: dict[str, str]) -> str:
    """Lines ``deb [OPTIONS] URI SUITE COMPONENT...``."""
    found = []
    for line in text.splitlines():
        match = re.match(r"(deb\s+(?:\[[^]]*\]\s*)?\S+\s+)(\S+)(\s.*)?$", line.strip())
        if match and match[2] in suites:
            found.append(f"{match[1]}{suites[match[2]]}{match[3] or ''}\n")
    return "".join(found)


def _deb822(text: str, suites: dict[str, str]) -> str:
    """Stanzas with a field ``Suites``, which may go on in indented lines."""
    found = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        match = re.search(r"^Suites:((?:.|\n[ \t])*)", stanza, re.MULTILINE | re.IGNORECASE)
        known = [suites[word] for word in match[1].split() if word in suites] if match else []
        if match and known:
            found.append(f"{stanza[: match.start()]}Suites: {' '.join(known)}{stanza[match.end() :]}".strip() + "\n")
    return "\n".join(found)


class _StaleIndexError(Exception):
    """The machine's index names files that the archive has replaced since."""


def explain(text: str) -> ToolError:
    """What apt-get's messages mean for the user."""
    why = "; ".join(line for line in text.splitlines() if line.startswith(("E:", "Err:")))[:600] or text.strip()[-600:]
    lowered = text.lower()
    if any(words in lowered for words in ("authenticated", "not signed", "not have a release file", "no_pubkey")):
        return ToolError(
            "signature",
            "apt does not trust the archive of these packages",
            why=why,
            fix="use a signed source",
        )
    if "no space left" in lowered:
        return ToolError("disk-full", "the disk is full", why=why, fix="free some space or set PREFECT_ENV_CACHE")
    if "hash sum mismatch" in lowered:
        return ToolError(
            "hash-mismatch", "the archive serves other bytes than its index says", why=why, fix="apt-get update"
        )
    if any(words in lowered for words in ("unable to locate package", "can't select", "can't find a source")):
        return ToolError("unsupported-host", "this machine's archive lacks the packages", why=why, fix=INSTEAD)
    return ToolError(
        "network",
        "the Debian archive cannot be reached",
        why=why,
        fix="check the network and the proxy, then run it again",
    )


def unpack(path: Path) -> Content:
    """Read a Debian package's content into memory."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False)
    control = subprocess.run(
        ["dpkg-deb", "--field", str(path), "Depends", "Pre-Depends"], capture_output=True, text=True, check=False
    )
    if packed.returncode or control.returncode:
        raise ToolError(
            "bad-file",
            "a Debian package cannot be read",
            where=str(path),
            why=packed.stderr.decode(errors="replace").strip(),
        )
    files: dict[str, tuple[bytes, bool]] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.issym():
                links[name] = member.linkname
            elif member.isfile() or member.islnk():
                stream = archive.extractfile(member)
                files[name] = (stream.read() if stream else b"", bool(member.mode & 0o100))
    floors = re.findall(r"libc6 \(>= ([0-9.]+)", control.stdout)
    return Content(files, links, max((tuple(map(int, floor.split("."))) for floor in floors), default=()))
