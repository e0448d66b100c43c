"""``prefect-env trust`` and ``proxy``: what is refused, what a server's chain says, and what settings files become."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from maintain.lib.paths import RUNTIME
from prefect_env import bundle, proxies
from shells.fixtures import make_prefix
from support.commands import Done, run

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment that trusts one public CA."""
    roots = tmp_path / "roots.pem"
    trustme.CA(organization_name="Public").cert_pem.write_to_path(roots)
    return make_prefix(tmp_path / "prefix", roots=str(roots))


def environment(prefix: Path) -> dict[str, str]:
    """The variables of a user whose home is beside ``prefix``."""
    return {
        "HOME": str(prefix.parent),
        "CONDA_PREFIX": str(prefix),
        "PYTHONPATH": str(RUNTIME),
        "PATH": "/usr/bin:/bin",
    }


def command(prefix: Path, *words: str | Path, code: int = 0, before: Sequence[str] = ()) -> Done:
    """Run prefect-env for ``prefix`` in a home of its own; ``before`` stands before the command."""
    env = environment(prefix)
    return run([*before, sys.executable, "-m", "prefect_env", *words], env=env, code=code)


def certificate(
    name: str, *, ca: bool = True, start: dt.datetime = NOW - DAY, end: dt.datetime = NOW + DAY
) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return built.public_bytes(Encoding.PEM), private


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: certificate("leaf", ca=False)[0], "server's own"),
        (lambda: certificate("old", start=NOW - 3 * DAY, end=NOW - DAY)[0], "expired"),
        (lambda: certificate("soon", start=NOW + DAY, end=NOW + 3 * DAY)[0], "not valid before"),
        (lambda: b"".join(certificate("key")), "private key"),
        (lambda: certificate("x")[1], "private key"),
        (lambda: b"hello", "no certificate"),
        (lambda: b"", "no certificate"),
        (lambda: b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "damaged"),
        (lambda: b"0\x82\x00\x01x", "no certificate"),
    ],
    ids=["leaf", "expired", "not yet", "with key", "key", "text", "empty", "damaged", "broken DER"],
)
def test_refused(made: object, why: str, prefix: Path, tmp_path: Path) -> None:
    """What is no CA to trust is refused with the reason, and nothing is written."""
    file = tmp_path / "file.pem"
    assert callable(made)
    file.write_bytes(made())
    done = command(prefix, "trust", "add", file, code=4)
    assert why in done.stderr
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize("form", ["PEM", "DER", "CRLF", "link"])
def test_added_listed_removed(form: str, prefix: Path, tmp_path: Path) -> None:
    """A CA in any form is kept as PEM, listed with its line, in the bundle, and gone after removal."""
    pem, _ = certificate("Example Root CA")
    file = tmp_path / "given"
    file.write_bytes(
        {"DER": ssl.PEM_cert_to_DER_cert(pem.decode()), "CRLF": b"# ours\r\n" + pem.replace(b"\n", b"\r\n")}.get(
            form, pem
        )
    )
    if form == "link":
        file = tmp_path / "link"
        file.symlink_to("given")
    command(prefix, "trust", "add", file)
    command(prefix, "trust", "add", file)  # a second time changes nothing
    (listed,) = json.loads(command(prefix, "trust", "list", "--json").stdout)
    assert listed["subject"] == "Example Root CA"
    assert listed["source"].endswith("prefect-env.conf:1")
    shown = json.loads(command(prefix, "show", "--json").stdout)
    merged = bundle.certificates(Path(shown["variables"]["SSL_CERT_FILE"]["value"]))
    assert merged[1:] == [ssl.PEM_cert_to_DER_cert(pem.decode())]
    command(prefix, "trust", "remove", listed["sha256"][:16])
    assert json.loads(command(prefix, "trust", "list", "--json").stdout) == []
    assert not list((tmp_path / ".config").rglob("*.pem"))


def test_not_there(prefix: Path) -> None:
    """A missing file, an unreadable one and a folder are said, as is a removal of what is not there."""
    for words in (("add", "/nonexistent.pem"), ("add", "/"), ("remove", "nothing"), ("add",), ("add", "x", "--system")):
        done = command(prefix, "trust", *words, code=2)
        assert done.stderr.startswith(("error: ", "Usage: "))


def test_unreadable(prefix: Path, tmp_path: Path) -> None:
    """A CA file that may not be read is named, by ``trust add`` as by an activation, which takes the rest."""
    site = prefix / "etc/prefect-env/site.d"
    secret, good = tmp_path / "secret.pem", tmp_path / "good.pem"
    for file in (secret, good):
        trustme.CA().cert_pem.write_to_path(file)
    secret.chmod(0)
    (site / "10.conf").write_text(f"CA_FILE={secret}\nCA_FILE={good}\n")
    denied = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if denied and shutil.which(denied[0]) is None:
        pytest.skip("root reads every file, and setpriv is not installed")
    done = command(prefix, "trust", "add", secret, code=2, before=denied)
    assert f"{secret}' is not readable" in done.stderr
    shown = json.loads(command(prefix, "show", "--json", before=denied).stdout)
    assert shown["warnings"] == [f"{site}/10.conf:1: {secret}: Permission denied; not in the CA bundle"]
    bundled = bundle.certificates(Path(shown["variables"]["SSL_CERT_FILE"]["value"]))
    assert bundled[1:] == bundle.certificates(good)


@contextmanager
def server(chain: bytes, key: bytes, folder: Path) -> Iterator[int]:
    """A TLS server on loopback that shakes hands and hangs up; its port."""
    file = folder / "server.pem"
    file.write_bytes(key + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(stream, server_side=True) as tls:
                        tls.recv(1)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def test_verify_names_the_interceptor(prefix: Path, tmp_path: Path) -> None:
    """A chain of a private CA: named, distrusted, and trusted after adding the root; then also by its host."""
    root = trustme.CA(organization_name="Interceptor Inc")
    leaf = root.create_child_ca().issue_cert("localhost")
    sent = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    with server(sent, leaf.private_key_pem.bytes(), tmp_path) as port:
        url = f"https://localhost:{port}"
        done = command(prefix, "trust", "verify", url, code=4)
        assert "Interceptor Inc" in done.stdout
        assert "no public CA" in done.stdout
        assert "prefect-env trust add" in done.stderr
        refused = command(prefix, "trust", "add", "--host", f"localhost:{port}", "--fingerprint", "00", code=4)
        assert "does not send the root" in refused.stderr
        root.cert_pem.write_to_path(tmp_path / "root.pem")
        command(prefix, "trust", "add", tmp_path / "root.pem")
        assert "this environment: trusted" in command(prefix, "trust", "verify", url).stdout


def test_add_from_a_host(prefix: Path, tmp_path: Path) -> None:
    """The root that a server sends is taken after its fingerprint was compared, not otherwise."""
    pem, key = certificate("Root that serves")
    digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    with server(pem, key, tmp_path) as port:
        host = f"localhost:{port}"
        command(prefix, "trust", "add", "--host", host, code=130)  # nobody there to ask
        command(prefix, "trust", "add", "--host", host, "--fingerprint", "ab" * 32, code=4)
        assert json.loads(command(prefix, "trust", "list", "--json").stdout) == []
        command(prefix, "trust", "add", "--host", host, "--fingerprint", ":".join([digest[:2], digest[2:]]))
        assert json.loads(command(prefix, "trust", "list", "--json").stdout)[0]["sha256"] == digest


@pytest.mark.parametrize(
    ("kind", "why"),
    [("expired", "expired"), ("not yet", "not yet valid"), ("wrong host", "mismatch"), ("self-signed leaf", "self")],
)
def test_verify_says_what_is_wrong(kind: str, why: str, prefix: Path, tmp_path: Path) -> None:
    """The reason for the refusal is told, and the exit code is that of a failed verification."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    command(prefix, "trust", "add", tmp_path / "ca.pem")
    if kind == "self-signed leaf":
        chain, key = certificate("alone", ca=False)
    else:
        host = "other.host" if kind == "wrong host" else "localhost"
        if kind == "expired":
            leaf = ca.issue_cert(host, not_before=NOW - 3 * DAY, not_after=NOW - DAY)
        else:
            leaf = ca.issue_cert(host, not_before=NOW + DAY if kind == "not yet" else None)
        chain, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
    with server(chain, key, tmp_path) as port:
        done = command(prefix, "trust", "verify", f"https://localhost:{port}", code=4)
    assert why in done.stdout


def test_2000_certificates(prefix: Path, tmp_path: Path) -> None:
    """A large bundle is merged whole, each certificate once, and OpenSSL takes it all."""
    pem, _ = certificate("one")
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    many = [der[:-2] + number.to_bytes(2, "big") for number in range(2000)]  # merged as bytes, signatures don't matter
    (tmp_path / "many.pem").write_bytes(b"".join(bundle.pem(one) for one in many * 2))
    (prefix / "etc/prefect-env/site.d/10.conf").write_text(f"CA_FILE={tmp_path}/many.pem")
    shown = json.loads(command(prefix, "show", "--json").stdout)
    merged = Path(shown["variables"]["CURL_CA_BUNDLE"]["value"])
    assert bundle.certificates(merged)[1:] == many
    assert ssl.create_default_context(cafile=str(merged)).cert_store_stats()["x509"] == 2001


def test_proxy_set_show_unset(prefix: Path, tmp_path: Path) -> None:
    """Settings are written and taken out again line by line; no output ever shows the password."""
    file = tmp_path / ".config/prefect-env/prefect-env.conf"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\nTELEMETRY=off\nHTTPS_PROXY=http://old:1\n")
    done = command(prefix, "proxy", "set", "http://me:s3cr%40t@proxy.corp:3128", "--no-proxy", "*.corp,10.0.0.0/8")
    assert "10.0.0.0/8 works for curl and requests only" in done.stderr
    text = file.read_text()
    assert text.startswith("# mine\nTELEMETRY=off\n")
    assert text.count("HTTPS_PROXY=") == 1
    outputs = [done, *(command(prefix, *words) for words in (("proxy", "show"), ("show",), ("show", "--json")))]
    assert all("s3cr" not in one.stdout + one.stderr for one in outputs)
    assert f"{file}:4" in outputs[1].stdout
    command(prefix, "proxy", "unset")
    assert file.read_text() == "# mine\nTELEMETRY=off\n"
    assert file.stat().st_mode & 0o777 == 0o644, "an existing file keeps its mode"


def test_ask_password(prefix: Path, tmp_path: Path) -> None:
    """The password is asked for on the terminal, not shown, and written so that each client finds it again."""
    password = "p@ss %41:w!"
    words = ["proxy", "set", "http://me@proxy.corp:3128", "--ask-password"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "prefect_env", *words], environment(prefix))
    said = b""
    with suppress(OSError):  # the end of a terminal
        while chunk := os.read(terminal, 1024):
            said += chunk
            if said.endswith(b"Password: "):
                os.write(terminal, f"{password}\n".encode())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert b"p@ss" not in said
    text = (tmp_path / ".config/prefect-env/prefect-env.conf").read_text().splitlines()
    written = next(line for line in text if line.startswith(("ALL_PROXY=", "HTTPS_PROXY=")))
    assert proxies.parse_proxy(written.partition("=")[2]).password == password


def test_new_settings_file_is_private(prefix: Path, tmp_path: Path) -> None:
    """A file that will hold a password is the user's alone."""
    command(prefix, "proxy", "set", "http://me:secret@proxy.corp:3128")
    assert (tmp_path / ".config/prefect-env/prefect-env.conf").stat().st_mode & 0o777 == 0o600


def test_show_reports_what_is_ignored(prefix: Path) -> None:
    """Unknown keys and broken lines are named with file and line."""
    file = prefix / "etc/prefect-env/site.d/10.conf"
    file.write_text("LD_PRELOAD=x\nhttps_proxy=x\nnonsense\nTELEMETRY=maybe\n")
    notes = json.loads(command(prefix, "show", "--json").stdout)["notes"]
    assert [note.removeprefix(f"{file}:") for note in notes] == [
        "1: unknown key",
        "2: unknown key; did you mean HTTPS_PROXY?",
        "3: not KEY=value",
        "4: TELEMETRY is true or false",
    ]


@pytest.mark.parametrize(
    "url", ["http://:1", "ftp://h:1", "http://h:99999", "http://h:0", "http://a b:1", "http://u:%00@h", ""]
)
def test_no_proxy_url(url: str) -> None:
    """What is no proxy URL raises ValueError without showing it."""
    with pytest.raises(ValueError, match=r"^[^%]*$"):
        proxies.parse_proxy(url)
