"""Certificates: the variables that name CA files, what is in the files, and which client reads which."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

from prefect_env import bundle, effective
from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Needs, Result, check, fail, merged, ok, skip, warn

GROUP = "Certificates"

SOON = timedelta(days=30)
OWN_LIST = 20
"""A file with fewer certificates is a site's own list, not a copy of the public roots."""
FORGOTTEN = timedelta(days=365)
"""In a long list a CA that expired longer ago than this is missed by nobody: host stores keep them for years."""

TRUST = "prefect-env trust add FILE (it merges the site's CA with the public roots for every client)"


def files(context: Context) -> dict[str, str]:
    """The CA variables that are set, with their values; Prefect's own also from its settings."""
    found = {name: context.host.env[name] for name in effective.CA_VARIABLES if name in context.host.env}
    own = context.settings.get("PREFECT_API_SSL_CERT_FILE") if context.host.live else None
    return {**found, **({"PREFECT_API_SSL_CERT_FILE": own.text} if own else {})}


@check("ca-files", "CA variables name files with certificates")
def ca_files(context: Context) -> Result:
    """Missing, empty, damaged; set but empty."""
    found: list[Result] = []
    good: dict[str, list[str]] = {}
    for name, path in files(context).items():
        if not path:
            if name == "SSL_CERT_FILE":
                why = "OpenSSL then trusts nobody, and says nothing"
                found.append(fail("SSL_CERT_FILE is set but empty", why, "unset SSL_CERT_FILE"))
        elif not context.host.live:
            good.setdefault(f"{path}, not looked at", []).append(name)
        elif not (name in effective.FOLDER_ALLOWED and Path(path).is_dir()):
            try:
                good.setdefault(f"{len(bundle.certificates(Path(path)))} certificates in {path}", []).append(name)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or str(error)
                found.append(fail(f"{name} is {path}: {why}", _harm(name), f"unset {name}, or: {TRUST}"))
    fine = "; ".join(f"{what} ({', '.join(names)})" for what, names in good.items())
    return merged(found, ok(fine or "none is set: the environment's own roots are used"))


def _harm(name: str) -> str:
    if name.endswith("SSL_CERT_FILE"):
        return "Prefect stops with FileNotFoundError, or trusts nobody"
    return "the programs that read it cannot verify any server"


@check("ca-expiry", "No CA of the site has expired", Needs.FILES)
def ca_expiry(context: Context) -> Result:
    """The dates of the certificates in every file that a variable or a settings file names."""
    paths = {Path(path) for path in files(context).values() if path}
    paths |= {path for path, name in context.plan.ca_sources if name != "ca-certificates"}
    roots = bundle.conda_roots(context.prefix)
    public = set(_certificates(roots)) if roots else set()
    results = [result for path in sorted(paths) for result in _expiry(path, public)]
    return merged(results, ok(f"{len(paths)} files") if paths else skip("no CA file is set"))


def _certificates(path: Path) -> list[bytes]:
    """The certificates of ``path``; none if they cannot be read, which the check of CA files reports."""
    try:
        return bundle.certificates(path)
    except (OSError, ValueError):
        return []


def _expiry(path: Path, public: set[bytes]) -> list[Result]:
    from cryptography import x509

    from prefect_env.trust import name_of, when

    found = []
    now = datetime.now(timezone.utc)
    certificates = _certificates(path)
    short = len(certificates) < OWN_LIST
    for der in certificates:
        if der in public:
            continue
        try:
            with warnings.catch_warnings():  # serial numbers that are not positive: some old roots
                warnings.simplefilter("ignore")
                certificate = x509.load_der_x509_certificate(der)
            end, name = when(certificate)[1], name_of(certificate.subject)
        except ValueError:
            continue
        if end < now and (short or end > now - FORGOTTEN):
            severe = fail if short else warn
            found.append(severe(f"{path}: {name} expired on {end:%Y-%m-%d}", "servers under it are refused", RENEW))
        elif now < end < now + SOON:
            found.append(warn(f"{path}: {name} expires on {end:%Y-%m-%d}", "servers under it will be refused", RENEW))
    return found


RENEW = "get the new CA from your site, then: prefect-env trust remove OLD && prefect-env trust add NEW"


@check("ca-clients", "Every client of Prefect gets the CA")
def ca_clients(context: Context) -> Result:
    """Which variable which part of which release reads."""
    env, version, found = context.host.env, context.prefect, []
    set_files = {name: path for name, path in files(context).items() if path}
    ssl, own = set_files.get("SSL_CERT_FILE"), set_files.get("PREFECT_API_SSL_CERT_FILE")
    others = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR") if env.get(name)]
    if others and not ssl and not own:
        found.append(warn(f"only {' and '.join(others)} set", "Prefect's clients read SSL_CERT_FILE, not these", TRUST))
    if ssl and own and ssl != own:
        found.append(
            warn(
                f"SSL_CERT_FILE is {ssl}, PREFECT_API_SSL_CERT_FILE is {own}",
                "calls of the API and other calls trust different CAs",
                "set both to one merged file: " + TRUST,
            )
        )
    if own and not ssl and version is not None:
        if version < "2.16.5":
            found.append(warn("only PREFECT_API_SSL_CERT_FILE is set", f"Prefect {version} does not read it", TRUST))
        elif "3" <= version < "3.2.10":
            why = f"websockets of Prefect {version} read SSL_CERT_FILE only, so task runs are lost"
            found.append(fail("only PREFECT_API_SSL_CERT_FILE is set", why, TRUST))
    return merged(found, ok("the same for all") if set_files else ok("no CA of the site is set"))


@check("ca-insecure", "Certificates are verified")
def insecure(context: Context) -> Result:
    """The switch that turns verification off."""
    settings = context.settings
    if not settings.on(effective.INSECURE):
        return ok("yes")
    value = settings.get(effective.INSECURE)
    version = context.prefect
    half = version is not None and "3" <= version < "3.1.15"
    return warn(
        f"{effective.INSECURE} is on ({value.source if value else ''})",
        "anybody on the way can read and change what Prefect sends, API keys too"
        + (f"; and websockets of Prefect {version} ignore it" if half else ""),
        f"unset {effective.INSECURE}; {TRUST}",
    )
