"""``prefect-env trust``: the certificate authorities of the bundle, and what a server's certificate hangs on."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from prefect_env import bundle, console, edit, network, session
from prefect_env.console import CommandError
from prefect_env.files import atomic_write
from prefect_env.settings import read, shown

COMMON_NAME, ORGANIZATION_NAME = x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME


@click.group()
def trust() -> None:
    """Add, list, remove and check certificate authorities (CAs)."""


def name_of(name: x509.Name) -> str:
    """The common name, else the organisation, else the whole name."""
    for attribute in (*name.get_attributes_for_oid(COMMON_NAME), *name.get_attributes_for_oid(ORGANIZATION_NAME)):
        return str(attribute.value)
    return name.rfc4514_string()


def when(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Not before and not after in UTC (cryptography < 42 has naive times only)."""
    if hasattr(certificate, "not_valid_before_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        certificate.not_valid_before.replace(tzinfo=timezone.utc),
        certificate.not_valid_after.replace(tzinfo=timezone.utc),
    )


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign others; one without the extension is a version 1 root if it signed itself."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1 and certificate.subject == certificate.issuer


def describe(certificate: x509.Certificate) -> dict[str, str]:
    """What people and ``--json`` see of a certificate."""
    return {
        "subject": name_of(certificate.subject),
        "issuer": name_of(certificate.issuer),
        "not_after": when(certificate)[1].date().isoformat(),
        "sha256": certificate.fingerprint(SHA256()).hex(),
    }


def load(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM or DER file. Raises CommandError ``certificate`` or ``bad-usage``."""
    try:
        if b"PRIVATE KEY-----" in path.read_bytes():
            raise CommandError(
                "certificate",
                "the file holds a private key",
                where=str(path),
                why="a CA file is read by everybody",
                fix="give the certificate alone",
            )
        return [x509.load_der_x509_certificate(der) for der in bundle.certificates(path)]
    except OSError as error:
        raise CommandError("bad-usage", "cannot read the file", where=str(path), why=error.strerror) from error
    except ValueError as error:
        raise CommandError("certificate", "that is no certificate", where=str(path), why=str(error)) from error


def check(certificate: x509.Certificate, where: str) -> None:
    """Raise CommandError ``certificate`` unless it is a CA that is valid now."""
    before, after = when(certificate)
    now = datetime.now(timezone.utc)
    why = None
    if not is_ca(certificate):
        why = "it is a server's own certificate, not that of a CA"
    elif now > after:
        why = f"it expired on {after.date()}"
    elif now < before:
        why = f"it is not valid before {before.date()}"
    if why:
        raise CommandError(
            "certificate",
            f"{name_of(certificate.subject)} is not a CA to trust",
            where=where,
            why=why,
            fix="ask for the certificate of the CA (its root) in PEM or DER",
        )


def _from_host(target: str, fingerprint: str | None) -> x509.Certificate:
    """The root that a server sends, after the user has compared its fingerprint."""
    host, port = network.address(target)
    proxy = network.proxy_for(host, port, session.current().environ)
    found = [x509.load_der_x509_certificate(der) for der in network.chain(host, port, proxy)]
    root = found[-1]
    if root.subject != root.issuer or not is_ca(root):
        raise CommandError(
            "certificate",
            f"{host} does not send the root of its chain",
            where=target,
            why=f"its last certificate is {name_of(root.subject)}, signed by {name_of(root.issuer)}",
            fix=f"ask for the certificate of {name_of(root.issuer)} and give it as a file",
        )
    digest = root.fingerprint(SHA256()).hex()
    if fingerprint is not None:
        if re.sub(r"[^0-9a-f]", "", fingerprint.lower()) != digest:
            raise CommandError("certificate", "the fingerprint is another", where=target, why=f"SHA-256 is {digest}")
        return root
    click.echo(f"{name_of(root.subject)}\n  SHA-256 {':'.join(re.findall('..', digest.upper()))}", err=True)
    click.confirm("Is this the fingerprint that your administrators publish?", abort=True, err=True)
    return root


@trust.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--host", metavar="HOST[:PORT]", help="Take the root that this server sends, after asking.")
@click.option("--fingerprint", metavar="SHA256", help="The root's fingerprint; then --host does not ask.")
@click.option("--system", is_flag=True, help="Trust what the host's own store trusts.")
@edit.where_option
@console.command
def add(
    file: Path | None, host: str | None, fingerprint: str | None, system: bool, where: str, *, as_json: bool
) -> None:
    """Add CAs to the bundle that every client uses.

    \b
    Example:
      prefect-env trust add corporate-root.pem
    """
    if (file is not None) + (host is not None) + system != 1:
        raise CommandError("bad-usage", "give a FILE, --host or --system")
    path = session.settings_file(where)
    if system:
        edit.update(path, {"CA_SYSTEM": "true"})
        console.emit(
            {"added": "system", "file": str(path)}, f"the host's store is trusted ({shown(path)})", as_json=as_json
        )
        return
    found = load(file) if file else [_from_host(str(host), fingerprint)]
    for certificate in found:
        check(certificate, str(file or host))
    names = [_keep(path, certificate) for certificate in found]
    there = {value.text for value in read(path, where).ca_files} if path.exists() else set()
    edit.update(path, {}, add=[name for name in names if str(path.parent / name) not in there])
    result = {"added": [describe(certificate) for certificate in found], "file": str(path)}
    text = "\n".join(f"trusted: {name_of(one.subject)}, until {when(one)[1].date()}" for one in found)
    console.emit(result, text, as_json=as_json)


def _keep(settings: Path, certificate: x509.Certificate) -> str:
    """Write the certificate beside the settings file; its path relative to that."""
    slug = re.sub(r"[^a-z0-9]+", "-", name_of(certificate.subject).lower()).strip("-")[:40]
    name = f"ca/{slug}-{certificate.fingerprint(SHA256()).hex()[:8]}.pem"
    target = settings.parent / name
    try:
        atomic_write(target, bundle.pem(certificate.public_bytes(Encoding.DER)))
    except OSError as error:
        raise CommandError("not-writable", "cannot write the CA file", where=str(target), why=error.strerror) from error
    return name


@trust.command("list")
@console.command
def list_(*, as_json: bool) -> None:
    """List the CAs that settings add to the public ones, and where each comes from.

    \b
    Example:
      prefect-env trust list
    """
    rows = []
    for path, source in session.current().plan.ca_sources:
        if ":" not in source:
            continue  # the public roots of ca-certificates
        try:
            found = [x509.load_der_x509_certificate(der) for der in bundle.certificates(path)]
        except (OSError, ValueError) as error:
            rows.append({"path": str(path), "source": source, "problem": str(error)})
        else:
            rows += [{**describe(one), "path": str(path), "source": source} for one in found]
    lines = [
        f"{row['subject']}, until {row['not_after']}\n  SHA-256 {row['sha256']}\n  from {row['source']}"
        if "subject" in row
        else f"{shown(row['path'])}: {row['problem']}\n  from {row['source']}"
        for row in rows
    ]
    console.emit(rows, "\n".join(lines) or "only the public CAs of ca-certificates are trusted", as_json=as_json)


@trust.command()
@click.argument("which", metavar="NAME|FINGERPRINT|system")
@edit.where_option
@console.command
def remove(which: str, where: str, *, as_json: bool) -> None:
    """Take a CA out of a settings file again.

    \b
    Example:
      prefect-env trust remove "Example Root CA"
    """
    path = session.settings_file(where)
    layer = read(path, where)
    if which == "system" and "CA_SYSTEM" in layer.values:
        edit.update(path, {"CA_SYSTEM": None})
        console.emit({"removed": ["system"]}, "the host's store is no longer trusted", as_json=as_json)
        return
    wanted = [value for value in layer.ca_files if _matches(Path(value.text), which)]
    if not wanted:
        raise CommandError("bad-usage", "no such CA in that file", where=str(path), fix="prefect-env trust list")
    files = [Path(value.text) for value in wanted]
    names = [str(file) for file in files]
    names += [str(file.relative_to(path.parent)) for file in files if path.parent in file.parents]
    edit.update(path, {}, remove=names)
    for file in files:
        if file.parent == path.parent / "ca":
            file.unlink(missing_ok=True)
    console.emit({"removed": [str(file) for file in files]}, f"no longer trusted: {which}", as_json=as_json)


def _matches(path: Path, which: str) -> bool:
    """Whether a CA file is what the user calls ``which``: its name, a subject, or the start of a fingerprint."""
    if which in (path.name, str(path)):
        return True
    digits = re.sub(r"[^0-9a-f]", "", which.lower())
    try:
        found = [describe(x509.load_der_x509_certificate(der)) for der in bundle.certificates(path)]
    except (OSError, ValueError):
        return False
    return any(which == one["subject"] or (len(digits) >= 8 and one["sha256"].startswith(digits)) for one in found)


@trust.command()
@click.argument("url")
@console.command
def verify(url: str, *, as_json: bool) -> None:
    """Show the chain a server sends, who signed it, and which store trusts it.

    \b
    Example:
      prefect-env trust verify https://prefect.example.com
    """
    host, port = network.address(url)
    current = session.current()
    proxy = network.proxy_for(host, port, current.environ)
    sent = [x509.load_der_x509_certificate(der) for der in network.chain(host, port, proxy)]
    if not sent:
        raise CommandError("certificate", "the server sends no certificate", where=url)
    roots = bundle.conda_roots(current.prefix)
    stores = {
        "this environment": current.environ.get("SSL_CERT_FILE") or str(roots or ""),
        "public CAs (ca-certificates)": str(roots or ""),
        "this host": str(bundle.host_store() or ""),
    }
    verdicts = {name: network.verdict(host, port, proxy, path) for name, path in stores.items() if path}
    top = sent[-1]
    signer = name_of(top.issuer)
    private = verdicts.get("public CAs (ca-certificates)") is not None
    result = {
        "chain": [describe(one) for one in sent],
        "signed_by": signer,
        "public": not private,
        "stores": {name: why or "trusted" for name, why in verdicts.items()},
    }
    lines = [f"{'  ' * depth}{name_of(one.subject)}, until {when(one)[1].date()}" for depth, one in enumerate(sent)]
    lines.append(
        f"signed by: {signer}" + ("" if not private else ", which is no public CA: a private CA or an interceptor")
    )
    lines += [f"{name}: {why or 'trusted'}" for name, why in verdicts.items()]
    console.emit(result, "\n".join(lines), as_json=as_json)
    failed = verdicts.get("this environment", "there is no store")
    if failed:
        raise CommandError(
            "certificate",
            f"this environment does not trust {host}",
            why=failed,
            fix=f'get the certificate of "{signer}" from your administrators, then: prefect-env trust add FILE',
        )
