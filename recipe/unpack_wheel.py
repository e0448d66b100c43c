"""Unpack the one wheel in the working folder into the build's site-packages, in place of pip.

pip would write a direct_url.json with the builder's paths and compile bytecode; a package must have neither. Used
as the build script of rattler-build and conda-build; standard library only. ``--edits FILE`` names a JSON list of
``{"path", "old", "new"}``: each ``old`` must occur exactly once in ``path`` and is replaced by ``new``.
"""

import base64
import csv
import hashlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Unpack, edit, bring RECORD up to date, put the licence where the builder looks for it."""
    wheels = list(Path.cwd().glob("*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"expected one wheel in {Path.cwd()}, found {[path.name for path in wheels]}")
    with zipfile.ZipFile(wheels[0]) as archive:
        files = {item.filename: archive.read(item) for item in archive.infolist() if not item.is_dir()}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    info = record.rpartition("/")[0]
    verify(files, record)
    if outside := [name for name in files if ".data/" in name]:
        raise SystemExit(f"{wheels[0].name} has files for outside site-packages: {outside}")
    if arguments:
        option, path = arguments
        if option != "--edits":
            raise SystemExit(__doc__)
        for edit in json.loads(Path(path).read_text(encoding="utf-8")):
            apply(files, **edit)
    files[f"{info}/INSTALLER"] = b"conda\n"
    files[record] = new_record(files, record)
    target = Path(os.environ["SP_DIR"])
    for name, data in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name, data in files.items():
        if name.startswith(f"{info}/") and "LICENSE" in name:
            Path(name.rpartition("/")[2]).write_bytes(data)


def apply(files: dict[str, bytes], path: str, old: str, new: str) -> None:
    """Replace ``old`` by ``new`` in ``files[path]``; anything but one occurrence stops the build."""
    found = files.get(path, b"").count(old.encode())
    if found != 1:
        raise SystemExit(f"{path}: the text to be replaced occurs {found} times, not once: {old!r}")
    files[path] = files[path].replace(old.encode(), new.encode())


def digest(data: bytes) -> str:
    """The hash of ``data`` as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def verify(files: dict[str, bytes], record: str) -> None:
    """Compare each file with RECORD, so that a wheel that was put together wrongly is not packaged."""
    listed = {row[0]: row[1] for row in csv.reader(io.StringIO(files[record].decode())) if row}
    bad = [name for name, data in files.items() if name != record and listed.get(name) != digest(data)]
    if bad:
        raise SystemExit(f"not as RECORD says: {bad}")


def new_record(files: dict[str, bytes], record: str) -> bytes:
    """RECORD for ``files``."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in sorted(files):
        if name != record:
            rows.writerow([name, digest(files[name]), len(files[name])])
    rows.writerow([record, "", ""])
    return text.getvalue().encode()


if __name__ == "__main__":
    main(sys.argv[1:])
