"""The merged CA bundle: the environment's own roots, the host's store on request, and the site's CAs, each once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from prefect_env.files import atomic_write
from prefect_env.settings import shown

HOST_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
BLOCK = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END (?:X509 )?CERTIFICATE-----", re.S)


def conda_roots(prefix: Path) -> Path | None:
    """The roots of the ca-certificates package in ``prefix``; None where it is not installed."""
    for place in ("ssl/cacert.pem", "Library/ssl/cacert.pem"):
        if (prefix / place).is_file():
            return prefix / place
    return None


def host_store() -> Path | None:
    """The host's own bundle file; None where there is none (Windows keeps its store in the registry)."""
    return next((Path(place) for place in HOST_STORES if usable(place)), None)


def usable(path: str) -> bool:
    """Whether ``path`` is a file with something in it that may be read."""
    try:
        with Path(path).open("rb") as stream:
            return bool(stream.read(1))
    except (OSError, ValueError):
        return False


def certificates(path: Path) -> list[bytes]:
    """The DER certificates of a PEM or DER file, in order; comments, keys and CRLF are skipped.

    Raises OSError if it can't be read and ValueError if it holds no certificate.
    """
    raw = path.read_bytes()
    if raw.startswith(b"0\x82"):
        return [raw]
    try:
        found = [base64.b64decode(b"".join(block[1].split()), validate=True) for block in BLOCK.finditer(raw)]
    except binascii.Error as error:
        raise ValueError("a certificate in it is damaged") from error
    if not found:
        raise ValueError("no certificate in it")
    return found


def pem(der: bytes) -> bytes:
    """One certificate as PEM."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def write(target: Path, sources: list[tuple[Path, str]], *, windows_store: bool = False) -> list[str]:
    """Merge ``sources`` (file, name for messages) into ``target``; the messages about those that can't be used.

    ``target`` is replaced only if its content changes, so that its date means something. Raises OSError.
    """
    merged: dict[bytes, None] = {}
    problems = [problem for path, name in sources for problem in _add(merged, path, name)]
    if windows_store:
        merged.update(dict.fromkeys(_windows_store()))
    data = b"".join(pem(der) for der in merged)
    if not (target.is_file() and target.read_bytes() == data):
        atomic_write(target, data)
    return problems


def _add(merged: dict[bytes, None], path: Path, name: str) -> list[str]:
    """Add the certificates in ``path``; the problem with it, if there is one."""
    try:
        merged.update(dict.fromkeys(certificates(path)))
    except OSError as error:
        return [f"{name}: {shown(path)}: {error.strerror}; not in the CA bundle"]
    except ValueError as error:
        return [f"{name}: {shown(path)}: {error}; not in the CA bundle"]
    return []


def _windows_store() -> Iterator[bytes]:
    """The roots and intermediates that Windows trusts for servers."""
    if sys.platform != "win32":
        return
    import ssl

    for store in ("ROOT", "CA"):
        for der, encoding, trust in ssl.enum_certificates(store):
            if encoding == "x509_asn" and (trust is True or "1.3.6.1.5.5.7.3.1" in trust):
                yield der


def place(prefix: Path, cache: Path, names: list[str], *, shared: bool) -> Path:
    """Where the bundle of the sources ``names`` lives: the same file for the same sources, whatever they hold.

    ``shared``: nothing of one user is in it, so it may live in the prefix, if that can be written.
    """
    key = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()[:12]
    home = prefix / "etc" / "prefect-env"
    if shared and os.access(home if home.is_dir() else prefix, os.W_OK):
        return home / f"ca-{key}.pem"
    return cache / f"ca-{key}.pem"
