"""A Python index on loopback (PEP 503, 691, 700) with made-up projects, for what asks the configured index."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """A release with one wheel; ``day`` is when the index got it (empty: it does not tell)."""

    name: str
    version: str
    day: str = "2026-01-01"
    python: str = ">=3.8"
    requires: tuple[str, ...] = ()
    yanked: bool = False

    @property
    def file(self) -> str:
        """The wheel's name."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def metadata(self) -> str:
        """The core metadata."""
        head = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\nRequires-Python: {self.python}\n"
        return head + "".join(f"Requires-Dist: {text}\n" for text in self.requires)

    @property
    def wheel(self) -> bytes:
        """The wheel's bytes."""
        info = self.file.removesuffix("-py3-none-any.whl") + ".dist-info"
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), self.metadata)
            tags = "Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), tags)
            archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
        return data.getvalue()

    def write(self, folder: Path) -> Path:
        """The wheel as a file in ``folder``."""
        path = folder / self.file
        path.write_bytes(self.wheel)
        return path


@contextmanager
def serve(releases: Sequence[Release]) -> Iterator[str]:
    """Serve ``releases``; the value is the index's URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            found = [release for release in releases if release.name == parts[-1]]
            files = {release.file: release for release in releases}
            if parts[0] == "simple" and found:
                self._answer(json.dumps(_page(found)).encode(), "application/vnd.pypi.simple.v1+json")
            elif parts[0] == "files" and parts[-1] in files:
                self._answer(files[parts[-1]].wheel, "application/octet-stream")
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.send_error(405)

        def _answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()


def _page(releases: Sequence[Release]) -> dict[str, object]:
    files = [
        {
            "filename": release.file,
            "url": f"/files/{release.file}",
            "hashes": {"sha256": hashlib.sha256(release.wheel).hexdigest()},
            "requires-python": release.python,
            "yanked": release.yanked,
            **({"upload-time": f"{release.day}T12:30:00.000000Z", "size": len(release.wheel)} if release.day else {}),
        }
        for release in releases
    ]
    versions = [release.version for release in releases]
    return {"meta": {"api-version": "1.1"}, "name": releases[0].name, "files": files, "versions": versions}
