"""Everything that follows from the manifest and the lock file: envs/ and the README's table, as text.

Nothing here reads the clock, the network or the old files, so the same lock gives the same bytes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable
from typing import Any

import yaml

from maintain.lock.package import Package, Solution, megabytes
from maintain.manifest import Environment, Manifest, Platform
from maintain.rehearse.page import Proven

LARGEST = 15
"""How many packages the table of sizes shows."""
INDEX = "envs/index.json"
README_START = "<!-- generated: platforms -->"
README_END = "<!-- end generated -->"

_FOR = {
    "environment": "conda, mamba and micromamba users who add packages of their own; solved anew when it is used",
    "explicit": "conda, mamba and micromamba users who want exactly the locked packages, verified by SHA-256",
    "conda-lock": "mamba, micromamba and conda-lock users; one file for all platforms",
    "packages": "people: versions, licences and sizes",
}


def files(manifest: Manifest, solution: Solution, lock_text: str, proven: Proven) -> dict[str, str]:
    """Path below the root -> text of every generated file of envs/, the index last.

    The index holds the SHA-256 of the lock file and of all others, so it is written last and tells a finished run.
    """
    found: dict[str, str] = {}
    kinds: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, environment in sorted(manifest.environments.items()):
        folder = f"envs/{name}"
        locked = {subdir: solution[name, subdir] for subdir in environment.platforms}
        for file, subdirs, text in _environment_files(manifest, environment, locked):
            found[f"{folder}/{file}"] = text
            kinds[f"{folder}/{file}"] = ("environment", subdirs)
        for subdir, packages in locked.items():
            found[f"{folder}/{subdir}.txt"] = _explicit(environment, manifest.platforms[subdir], packages)
            kinds[f"{folder}/{subdir}.txt"] = ("explicit", (subdir,))
        found[f"{folder}/conda-lock.yml"] = _conda_lock(manifest, environment, locked)
        kinds[f"{folder}/conda-lock.yml"] = ("conda-lock", environment.platforms)
        found[f"{folder}/packages.md"] = _package_list(environment, locked)
        kinds[f"{folder}/packages.md"] = ("packages", environment.platforms)
    found["envs/README.md"] = _page(manifest, solution, kinds, proven)
    found[INDEX] = _index(manifest, solution, lock_text, found, kinds)
    return found


def platform_table(manifest: Manifest, solution: Solution, proven: Proven) -> str:
    """The README's table of platforms, environments and Prefect versions, each with what it is proven by."""
    names = list(manifest.environments)
    rows = [["Platform", "Runs on", *(f"`{name}`" for name in names)]]
    for subdir, platform in manifest.platforms.items():
        cells = [
            f"{_version(found)}, {proven.mark(name, subdir)}" if (found := solution.get((name, subdir))) else "-"
            for name in names
        ]
        rows.append([subdir, _host(platform), *cells])
    return _table(rows)


def with_table(readme: str, table: str) -> str | None:
    """``readme`` with the table between its markers; None if it has no markers."""
    before, start, rest = readme.partition(README_START)
    _, end, after = rest.partition(README_END)
    return f"{before}{start}\n{table}{end}{after}" if start and end else None


def _version(packages: Iterable[Package]) -> str:
    return next((f"Prefect {package.version}" for package in packages if package.name == "prefect"), "yes")


def _host(platform: Platform) -> str:
    virtual = dict(text.split("=")[:2] for text in platform.virtual_packages)
    if "__glibc" in virtual:
        return f"glibc {virtual['__glibc']}, Linux {virtual['__linux']}"
    return f"macOS {virtual['__osx']}" if "__osx" in virtual else f"Windows {virtual['__win'].removesuffix('.0')}"


def _table(rows: list[list[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


def _environment_files(
    manifest: Manifest, environment: Environment, locked: dict[str, tuple[Package, ...]]
) -> list[tuple[str, tuple[str, ...], str]]:
    """(file name, platforms, text) of the environment's conda files: one for each set of platforms with equal specs.

    A package that has one locked version on all of these platforms is held to it, but for one of which the manifest
    only says what it must not be: that is a bound, and has to hold for who solves anew and relaxes the versions, too.
    A build that the manifest names is left to the solver, for conda has no specs per platform.
    """
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for subdir in environment.platforms:
        texts = environment.specs(subdir).items()
        specs = {name: text.partition(" ")[0] for name, text in texts if not text.startswith("* ")}
        groups.setdefault(tuple(sorted(specs.items())), []).append(subdir)
    found: list[tuple[str, tuple[str, ...], str]] = []
    for specs_of, subdirs in sorted(groups.items(), key=lambda group: (-len(group[1]), group[1])):
        lines = []
        for name, constraint in specs_of:
            versions = {package.version for subdir in subdirs for package in locked[subdir] if package.name == name}
            bound = all(clause.startswith(("<", "!=")) for clause in constraint.split(","))
            pin = f"={versions.pop()}" if len(versions) == 1 and not bound else ""
            if not pin and constraint != "*":
                pin = f" {constraint}"
            lines.append(f"  - {name}{pin}")
        file = "environment.yml" if not found else f"environment-{'-'.join(subdirs)}.yml"
        text = "\n".join(
            [
                f"# {environment.purpose}.",
                f"# For {', '.join(subdirs)}. Written by scripts/lock from pixi.toml and pixi.lock.",
                f"name: prefect-env-{environment.name}",
                "channels:",
                *(f"  - {_short(channel)}" for channel in manifest.channels),
                "dependencies:",
                *lines,
                "",
            ]
        )
        found.append((file, tuple(subdirs), text))
    return found


def _short(channel: str) -> str:
    """A channel's name where it has one, so that a site's channel_alias and mirrors apply."""
    return channel.removeprefix("https://conda.anaconda.org/")


def _explicit(environment: Environment, platform: Platform, packages: tuple[Package, ...]) -> str:
    head = [
        f"# {environment.purpose}.",
        f"# {platform.subdir}: {_host(platform)} or newer. Written by scripts/lock from pixi.lock.",
        f"# conda create --name prefect --file {platform.subdir}.txt",
        "@EXPLICIT",
    ]
    return "\n".join([*head, *(f"{package.url}#sha256:{package.sha256}" for package in _ordered(packages)), ""])


def _ordered(packages: Iterable[Package]) -> list[Package]:
    """Dependencies first, by name where that leaves a choice; conda links explicit packages in this order."""
    by_name = {package.name: package for package in packages}
    needs = {
        name: {text.split()[0] for text in package.depends} & set(by_name) - {name} for name, package in by_name.items()
    }
    users: dict[str, list[str]] = {name: [] for name in by_name}
    for name, needed in needs.items():
        for other in needed:
            users[other].append(name)
    missing = {name: len(needed) for name, needed in needs.items()}
    ready = [name for name, count in missing.items() if not count]
    heapq.heapify(ready)
    found: list[Package] = []
    while len(found) < len(by_name):
        if not ready:  # a cycle: conda-forge has a few; any member may be first
            ready.append(min(name for name, count in missing.items() if count > 0))
        name = heapq.heappop(ready)
        if missing[name] < 0:
            continue
        missing[name] = -1
        found.append(by_name[name])
        for user in users[name]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return found


def _conda_lock(manifest: Manifest, environment: Environment, locked: dict[str, tuple[Package, ...]]) -> str:
    """A unified lock file, format v1 (conda_lock.lockfile.v1.models)."""
    subdirs = environment.platforms
    content = {
        subdir: [manifest.channels, environment.specs(subdir), manifest.platforms[subdir].virtual_packages]
        for subdir in subdirs
    }
    metadata = {
        "content_hash": {subdir: _digest(json.dumps(content[subdir], sort_keys=True)) for subdir in subdirs},
        "channels": [{"url": channel, "used_env_vars": []} for channel in manifest.channels],
        "platforms": list(subdirs),
        "sources": ["pixi.toml"],
    }
    packages = [
        {
            "name": package.name,
            "version": package.version,
            "manager": "conda",
            "platform": subdir,
            "dependencies": _dependencies(package),
            "url": package.url,
            "hash": {"md5": package.md5, "sha256": package.sha256},
            "category": "main",
            "optional": False,
        }
        for subdir in subdirs
        for package in locked[subdir]
    ]
    head = f"# {environment.purpose}. Written by scripts/lock from pixi.lock.\n"
    document = {"version": 1, "metadata": metadata, "package": packages}
    return head + yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, width=1000)


def _dependencies(package: Package) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in package.depends:
        name, _, constraint = text.partition(" ")
        found[name] = constraint or found.get(name, "")
    return found


def _package_list(environment: Environment, locked: dict[str, tuple[Package, ...]]) -> str:
    subdirs = environment.platforms
    names = sorted({package.name for packages in locked.values() for package in packages})
    at = {(subdir, package.name): package for subdir, packages in locked.items() for package in packages}
    totals = [sum(package.size or 0 for package in locked[subdir]) for subdir in subdirs]
    largest = sorted(names, key=lambda name: (-max(_size(at.get((subdir, name))) for subdir in subdirs), name))[
        :LARGEST
    ]

    def cells(name: str, value: Any) -> list[str]:
        return [value(package) if (package := at.get((subdir, name))) else "" for subdir in subdirs]

    sizes = [
        ["MB to download", *subdirs],
        *([name, *cells(name, lambda package: megabytes(_size(package)))] for name in largest),
        [
            f"all {len(names)}",
            *(f"{megabytes(total)} ({len(locked[subdir])})" for total, subdir in zip(totals, subdirs, strict=True)),
        ],
    ]
    everything = [["Package", "Licence", *subdirs]]
    for name in names:
        licences = dict.fromkeys(at[subdir, name].license or "not said" for subdir in subdirs if (subdir, name) in at)
        versions = cells(
            name, lambda package: f"{package.version} ({megabytes(package.size)})" if package.size else package.version
        )
        everything.append([name, "; ".join(licences), *versions])
    return "\n".join(
        [
            f"# Packages of {environment.name}",
            "",
            f"{environment.purpose}. Written by scripts/lock from pixi.lock; the number in brackets is the size in MB.",
            "",
            "## By size",
            "In the last row the number of packages is in brackets.",
            "",
            _table(sizes),
            "## All",
            _table(everything),
        ]
    )


def _size(package: Package | None) -> int:
    return package.size or 0 if package else 0


def _page(manifest: Manifest, solution: Solution, kinds: dict[str, tuple[str, tuple[str, ...]]], proven: Proven) -> str:
    rows = [["Environment", "For", "Platforms", "Packages", "MB to download"]]
    for name, environment in manifest.environments.items():
        groups = [solution[name, subdir] for subdir in environment.platforms]
        counts = sorted(len(group) for group in groups)
        sizes = sorted(sum(package.size or 0 for package in group) for group in groups)
        span = f"{megabytes(sizes[0])} to {megabytes(sizes[-1])}"
        rows.append(
            [
                f"[{name}]({name}/packages.md)",
                environment.purpose,
                str(len(groups)),
                f"{counts[0]} to {counts[-1]}",
                span,
            ]
        )
    uses = [["File", "For"]]
    patterns = {
        "explicit": "`ENVIRONMENT/PLATFORM.txt`",
        "conda-lock": "`ENVIRONMENT/conda-lock.yml`",
        "environment": "`ENVIRONMENT/environment.yml`",
        "packages": "`ENVIRONMENT/packages.md`",
    }
    uses += [[pattern, _FOR[kind]] for kind, pattern in patterns.items()]
    other = [f"`{path.removeprefix('envs/')}`" for path in kinds if "/environment-" in path]
    note = f"\nWhere a platform needs other specs it has a file of its own: {', '.join(other)}.\n" if other else ""
    return f"""# envs/
The locked environments for people without pixi. Everything here is written by `scripts/lock` from `pixi.toml` and
`pixi.lock`; `scripts/check` says where it is not what they say. [index.json](index.json) is the same for programs,
with the SHA-256 of each file.

{_table(rows)}
## Which file is for whom
{_table(uses)}{note}
With pixi, none of them: `pixi install --frozen` in a clone. With none of these programs: `scripts/install`.

```sh
conda create --name prefect --file envs/default/linux-64.txt
mamba create --name prefect --file envs/default/conda-lock.yml
conda env create --file envs/default/environment.yml
```

## Platforms
{platform_table(manifest, solution, proven)}
"Runs on" is the oldest system the packages are solved for. conda verifies the hashes of explicit files for what it
downloads, not for `file://` packages; mamba verifies both.

## What is proven
"Run": conda-forge's own packages were installed and run on that platform, by the weekly workflow. "Rehearsed": the
same versions of all Python packages were run on Linux, from wheels, on the Python named, beside Debian's SQLite and
OpenSSL: a server, a flow with a subflow, a retry and artifacts, a deployment through a worker, an automation, every
command, `pip check` and the upgrade of an older database. "Only solved": nobody ran it. By `scripts/rehearse`, into
[rehearsed.json](rehearsed.json); the wheels are pinned in [wheels.txt](wheels.txt).

{_table(proven.table())}"""


def _index(
    manifest: Manifest,
    solution: Solution,
    lock_text: str,
    rendered: dict[str, str],
    kinds: dict[str, tuple[str, tuple[str, ...]]],
) -> str:
    environments = {}
    for name, environment in sorted(manifest.environments.items()):
        platforms = {}
        for subdir in environment.platforms:
            packages = {package.name: package for package in solution[name, subdir]}
            platforms[subdir] = {
                "virtual_packages": list(manifest.platforms[subdir].virtual_packages),
                "packages": len(packages),
                "bytes": sum(package.size or 0 for package in packages.values()),
                "versions": {spec: packages[spec].version for spec in environment.specs(subdir)},
            }
        paths = [path for path in rendered if path.startswith(f"envs/{name}/")]
        environments[name] = {
            "purpose": environment.purpose,
            "platforms": platforms,
            "files": [
                {
                    "path": path,
                    "kind": kinds[path][0],
                    "for": _FOR[kinds[path][0]],
                    "platforms": list(kinds[path][1]),
                    "sha256": _digest(rendered[path]),
                }
                for path in paths
            ],
        }
    index = {
        "format": 1,
        "version": manifest.version,
        "channels": list(manifest.channels),
        "lock": {"path": "pixi.lock", "sha256": _digest(lock_text)},
        "environments": environments,
    }
    return json.dumps(index, indent=2, ensure_ascii=False) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
