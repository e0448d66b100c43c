"""A bundle is what its manifest says, or it is refused: every kind of change, chosen by hypothesis."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintain.bundle import ed25519, layout
from maintain.bundle.layout import Bundle, Span, header, padding
from maintain.lib.errors import ToolError

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
Members = list[tuple[str, bytes]]


def refused(path: Path) -> str:
    """Why the file is refused; fails if it is not."""
    with pytest.raises(ToolError) as caught:
        Bundle(path).verify()
    assert caught.value.id == "hash-mismatch"
    return str(caught.value.why)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    return tmp_path / "changed.tar"


class Raw(bytes):
    """Bytes that a failing example does not print."""

    def __repr__(self) -> str:
        return f"{len(self)} bytes"


@pytest.fixture(scope="session")
def small() -> bytes:
    """A bundle of a few kilobytes: the format does not care what its members are."""
    members = [("engine.tar.gz", b"e" * 700), ("channel/noarch/a.conda", b"a" * 512), ("channel/noarch/b.conda", b"b")]
    return Raw(rebuilt(with_manifest(members)))


def with_manifest(members: Members) -> Members:
    entries = [{"name": name, "size": len(data), "sha256": sha256(data)} for name, data in members]
    manifest = layout.dump({"format": layout.FORMAT, "name": "small", "members": entries})
    return [(layout.MANIFEST, manifest), (layout.CHECKSUM, layout.checksum_line(manifest)), *members]


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def rebuilt(members: Members) -> bytes:
    """A tar of ``members`` with headers as the format has them, so that nothing but the content can give it away."""
    return b"".join(header(n, len(d)) + d + padding(len(d)) for n, d in members) + layout.END


def members_of(raw: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return [(one.name, archive.extractfile(one).read()) for one in archive]  # type: ignore[union-attr]


def test_the_untouched_bundle_is_whole(bundle: Path, installer: Path, small: bytes, changed: Path) -> None:
    changed.write_bytes(small)
    for path in (bundle, installer, changed):
        Bundle(path).verify()
    with tarfile.open(bundle) as archive:
        assert [one.name for one in archive][2:] == list(Bundle(bundle).members), "tar reads what we wrote"


@QUICK
@given(data=st.data())
def test_any_flipped_bit(small: bytes, changed: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(small) - 1))
    raw = bytearray(small)
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    changed.write_bytes(raw)
    refused(changed)


@QUICK
@given(data=st.data())
def test_any_flipped_byte_of_a_real_bundle(bundle: Path, changed: Path, data: st.DataObject) -> None:
    raw = bytearray(bundle.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed.write_bytes(raw)
    refused(changed)


NAMES = st.sampled_from(["../evil", "/etc/evil", "channel/../../evil", "extra", "channel/noarch/c.conda", ".", "a b"])


@QUICK
@given(data=st.data())
def test_any_change_of_members(small: bytes, changed: Path, data: st.DataObject) -> None:
    """Dropped, doubled, added, renamed, in another order, another size: with headers that are right in themselves."""
    members = members_of(small)
    number = data.draw(st.integers(0, len(members) - 1))
    other = data.draw(st.integers(0, len(members) - 1).filter(lambda found: found != number))
    kind = data.draw(st.sampled_from(["drop", "double", "add", "rename", "swap", "longer", "shorter"]))
    name, content = members[number]
    if kind == "drop":
        del members[number]
    elif kind == "double":
        members.insert(other, members[number])
    elif kind == "add":
        members.insert(number, (data.draw(NAMES), b"evil"))
    elif kind == "rename":
        members[number] = (data.draw(NAMES), content)
    elif kind == "swap":
        members[number], members[other] = members[other], members[number]
    else:
        members[number] = (name, content + b"!" if kind == "longer" else content[:-1])
    changed.write_bytes(rebuilt(members))
    refused(changed)


@QUICK
@given(cut=st.integers(0, 10_000), tail=st.binary(min_size=1, max_size=1500))
def test_cut_or_longer(small: bytes, changed: Path, cut: int, tail: bytes) -> None:
    changed.write_bytes(small[: cut % len(small)])
    refused(changed)
    changed.write_bytes(small + tail)
    refused(changed)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file(small: bytes, changed: Path, kind: bytes) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members_of(small):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name.endswith("a.conda"):
                member.type, member.linkname, member.size = kind, "/etc/passwd", 0
            archive.addfile(member, io.BytesIO(data))
    changed.write_bytes(raw.getvalue())
    refused(changed)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a//b", "a/.", "", "a\\b", "ünï", "a b", "x\n"])
def test_a_manifest_with_a_bad_name(changed: Path, name: str) -> None:
    """Whoever writes a manifest and its hash anew still writes nothing outside of the prefix."""
    entry = {"name": name, "size": 4, "sha256": sha256(b"evil")}
    manifest = layout.dump({"format": layout.FORMAT, "name": "evil", "members": [entry]})
    front: Members = [(layout.MANIFEST, manifest), (layout.CHECKSUM, layout.checksum_line(manifest))]
    changed.write_bytes(rebuilt(front) + header("x", 4) + b"evil")
    assert "no name" in refused(changed)


@given(st.integers(0, 2**33 - 1), st.from_regex(r"[a-h0-9_.-]{1,60}(/[a-h0-9_.-]{1,60}){0,3}", fullmatch=True))
def test_headers_are_what_tar_reads(size: int, name: str) -> None:
    member = tarfile.TarInfo.frombuf(header(name, size), "ascii", "strict")
    assert (member.name, member.size, member.mode, member.mtime) == (name, size, 0o644, 0)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.integers(0, 40), st.integers(0, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_spans_over_volumes(tmp_path: Path, parts: list[bytes], start: int, size: int) -> None:
    paths = []
    for number, data in enumerate(parts):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(data)
    whole = b"".join(parts)
    with io.BufferedReader(Span(paths, start, max(0, min(size, len(whole) - start))), 7) as stream:
        assert stream.read() == whole[start : start + size]
    with Span(paths, start, max(0, min(size, len(whole) - start))) as raw:
        assert raw.read(100) == whole[start : start + size], "one call reads over the ends of volumes"


@settings(deadline=None, max_examples=30)
@given(message=st.binary(max_size=200), flip=st.integers(0, 64 * 8 - 1))
def test_signatures(message: bytes, flip: int) -> None:
    private = Ed25519PrivateKey.generate()
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519.verify(key, signature, message)
    assert not ed25519.verify(key, signature, message + b"!")
    wrong = bytearray(signature)
    wrong[flip // 8] ^= 1 << flip % 8
    assert not ed25519.verify(key, bytes(wrong), message)
    assert not ed25519.verify(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), signature, message)
