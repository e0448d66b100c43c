"""CA files, and prefixes that have nothing but what an activation looks at."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from maintain.lib.paths import RUNTIME

PYTHON = """\
#!/bin/sh
# Stands for the prefix's Python: notes each start, and has the package where an installed one would have it.
echo start >> "${0%/*}/../starts"
case $1-$2 in
-I--c) code=$3 form=$4; exec {python} -I -c "$code" "$form" {runtime} ;;
esac
exec {python} "$@"
"""


@dataclass(frozen=True)
class Certificates:
    """Files of CA certificates in ``folder`` by name, and the DER certificates that each holds."""

    folder: Path
    holds: dict[str, tuple[bytes, ...]]

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@lru_cache
def certificates(folder: Path) -> Certificates:
    """Make the files that the table of cases names."""
    ca = {name: trustme.CA(organization_name=f"{name} CA") for name in ("root", "corp", "der", "crlf")}
    pem = {name: authority.cert_pem.bytes() for name, authority in ca.items()}
    many = [trustme.CA(organization_name=f"CA {number}").cert_pem.bytes() for number in range(30)]
    files = {
        "root": pem["root"],
        "corp": pem["corp"],
        "der": der(pem["der"]),
        "crlf": b"# the corporate CA\r\nsubject=CN \xe9\r\n" + pem["crlf"].replace(b"\n", b"\r\n") + b"\r\nend",
        "many": b"".join(many * 10),
        "key": ca["corp"].private_key_pem.bytes() + pem["corp"],
        "empty": b"",
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.pem").write_bytes(content)
    (folder / "link.pem").symlink_to("corp.pem")
    holds = {name: (der(pem[name]),) for name in ca}
    return Certificates(folder, {**holds, "many": tuple(der(one) for one in many)})


def make_prefix(prefix: Path, *, roots: str, websockets: int | None = None) -> Path:
    """A prefix with our scripts, its roots, a Python that counts its starts and maybe websockets' metadata."""
    site = prefix / "lib" / "python3.11" / "site-packages"
    for folder in ("bin", "conda-meta", "etc/conda", "etc/prefect-env/site.d", "ssl"):
        (prefix / folder).mkdir(parents=True)
    site.mkdir(parents=True)
    for folder in ("activate.d", "deactivate.d"):
        (prefix / "etc" / "conda" / folder).symlink_to(RUNTIME / folder)
    (prefix / "ssl" / "cacert.pem").write_bytes(Path(roots).read_bytes())
    if websockets:
        (site / f"websockets-{websockets}.1.dist-info").mkdir()
    python = prefix / "bin" / "python"
    python.write_text(
        PYTHON.replace("{python}", shlex.quote(sys.executable)).replace("{runtime}", shlex.quote(str(RUNTIME)))
    )
    python.chmod(0o755)
    return prefix


def starts(prefix: Path) -> int:
    """How often the prefix's Python was started."""
    notes = prefix / "starts"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def base_environment(home: Path) -> dict[str, str]:
    """The variables that every case starts with."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb"}
