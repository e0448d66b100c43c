"""Turn a wheel into a conda package, as its feedstock's recipe would."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable

from packaging.specifiers import SpecifierSet

from maintain.channel.package import PLACEHOLDER, Entry, Package
from maintain.channel.release import Release
from maintain.channel.specs import conda_name, conda_version, dependencies
from maintain.channel.wheels import Wheel

SPDX = {
    "Apache 2": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "LicenseRef-BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Licence names of older metadata and of classifiers that SPDX calls otherwise; "BSD" alone does not say which."""

LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)


def convert(wheel: Wheel, requires_of: Callable[[str], Iterable[str]], release: Release) -> Package:
    """The conda package of ``wheel`` for the Python of ``release``.

    ``requires_of`` gives the Requires-Dist lines of the other wheels of its set.
    """
    python = release.python
    site = "site-packages" if wheel.pure else f"lib/python{python}/site-packages"
    entries = [*_site_files(wheel, site), *_data_files(wheel, python)]
    scripts = _entry_points(wheel)
    info = _licences(wheel)
    depends = dependencies(wheel.requires, release.markers, requires_of)
    wanted = conda_version(SpecifierSet(str(wheel.metadata.get("Requires-Python", ""))))
    if wheel.pure:
        depends.append(f"python {wanted}".strip())
        link = {"noarch": {"type": "python", "entry_points": scripts}, "package_metadata_version": 1}
        info["link.json"] = json.dumps(link, indent=1).encode()
    else:
        depends += [f"python >={python},<3.{int(python[2:]) + 1}.0a0", f"python_abi {python}.* *_{release.tag}"]
        entries += [_script(line) for line in scripts]
        depends += _runtimes(entries)
    return Package(
        name=conda_name(wheel.pin.name),
        version=str(wheel.metadata["Version"]),
        build="py_standin_0" if wheel.pure else f"py{release.tag[2:]}_standin_0",
        subdir="noarch" if wheel.pure else "linux-64",
        files=entries,
        depends=depends,
        license=_licence(wheel),
        about={
            "summary": str(wheel.metadata.get("Summary", "")),
            "extra": {"wheel": wheel.path.name, "sha256": wheel.sha256},
        },
        info=info,
    )


def _site_files(wheel: Wheel, site: str) -> list[Entry]:
    """What goes into site-packages, with the .dist-info folder telling of conda as installer."""
    data_folder = wheel.dist_info.replace(".dist-info", ".data")
    files: dict[str, tuple[bytes, bool]] = {}
    for path, content in wheel.files.items():
        kind = path.removeprefix(f"{data_folder}/") if path.startswith(f"{data_folder}/") else None
        if kind is None:
            files[path] = content
        elif kind.startswith(("purelib/", "platlib/")):
            files[kind.partition("/")[2]] = content
    for name in ("RECORD", "RECORD.jws", "RECORD.p7s", "REQUESTED", "direct_url.json"):
        files.pop(f"{wheel.dist_info}/{name}", None)
    if wheel.borrowed:
        files = {path: content for path, content in files.items() if not path.endswith(".so")}
        universal = "Wheel-Version: 1.0\nGenerator: prefect-env stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files[f"{wheel.dist_info}/WHEEL"] = (universal.encode(), False)
    files[f"{wheel.dist_info}/INSTALLER"] = (b"conda\n", False)
    record = io.StringIO(newline="")
    rows = csv.writer(record, lineterminator="\n")
    for path, (data, _) in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([path, f"sha256={digest}", len(data)])
    rows.writerow([f"{wheel.dist_info}/RECORD", "", ""])
    files[f"{wheel.dist_info}/RECORD"] = (record.getvalue().encode(), False)
    return [Entry(f"{site}/{path}", data, executable=executable) for path, (data, executable) in files.items()]


def _data_files(wheel: Wheel, python: str) -> list[Entry]:
    """Scripts, headers and data of the wheel's .data folder."""
    places = {
        "scripts": "python-scripts" if wheel.pure else "bin",
        "headers": f"include/python{python}/{wheel.pin.name}",
        "data": "",
    }
    start = wheel.dist_info.replace(".dist-info", ".data") + "/"
    entries = []
    for path, (data, executable) in wheel.files.items():
        kind, _, rest = path.removeprefix(start).partition("/")
        if not path.startswith(start) or kind not in places:
            continue
        target = f"{places[kind]}/{rest}".lstrip("/")
        if kind == "scripts" and data.startswith(b"#!python"):
            body = f"#!{PLACEHOLDER}/bin/python".encode() + data.removeprefix(b"#!python")
            entries.append(Entry(target, body, executable=True, prefix="text"))
        else:
            entries.append(Entry(target, data, executable=executable or kind == "scripts"))
    return entries


def _entry_points(wheel: Wheel) -> list[str]:
    """Its console scripts, each ``name = module:function``."""
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string(wheel.text("entry_points.txt") or "")
    if not parser.has_section("console_scripts"):
        return []
    return [
        f"{name} = {target.partition('[')[0].strip()}" for name, target in sorted(parser["console_scripts"].items())
    ]


def _script(line: str) -> Entry:
    """The program of an entry point, as pip writes it; for noarch packages the installer makes it."""
    name, target = line.split(" = ")
    module, function = target.split(":")
    start = function.partition(".")[0]
    text = (
        f"#!{PLACEHOLDER}/bin/python\n"
        f"import sys\n\nfrom {module} import {start}\n\n"
        f'if __name__ == "__main__":\n    sys.exit({function}())\n'
    )
    return Entry(f"bin/{name}", text.encode(), executable=True, prefix="text")


def _runtimes(entries: list[Entry]) -> list[str]:
    """The packages of the compiler libraries that extension modules load, and that wheels take from the system."""
    sonames = {"libstdcxx": b"\0libstdc++.so.6\0", "libgcc": b"\0libgcc_s.so.1\0"}
    return [name for name, soname in sonames.items() if any(soname in entry.data for entry in entries)]


def _licences(wheel: Wheel) -> dict[str, bytes]:
    """The wheel's licence files, for ``info/licenses``."""
    found = {}
    for path, (data, _) in wheel.files.items():
        inner = path.removeprefix(f"{wheel.dist_info}/")
        if inner != path and (inner.startswith("licenses/") or LICENCE.match(inner)):
            found[f"licenses/{inner.removeprefix('licenses/')}"] = data
    return found


def _licence(wheel: Wheel) -> str:
    """Its licence: the expression, else a short free text, else what the classifiers say."""
    expression = str(wheel.metadata.get("License-Expression", "")).strip()
    free = str(wheel.metadata.get("License", "")).strip()
    if expression or (free and "\n" not in free and len(free) < 80 and free != "UNKNOWN"):
        return expression or SPDX.get(free, free)
    classifiers = [str(line) for line in wheel.metadata.get_all("Classifier", [])]
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    return " AND ".join(sorted({SPDX.get(name, name) for name in names})) or "LicenseRef-Unknown"
