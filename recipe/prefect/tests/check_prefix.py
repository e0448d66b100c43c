"""SQLite is new enough, and SQLite and OpenSSL are loaded from the prefix."""

import os
import re
import sqlite3
import ssl
import sys
from pathlib import Path

assert sqlite3.sqlite_version_info >= (3, 24), sqlite3.sqlite_version  # noqa: S101 - Prefect's own floor
assert ssl.OPENSSL_VERSION_INFO >= (3,), ssl.OPENSSL_VERSION  # noqa: S101

maps = Path("/proc/self/maps")
if maps.exists():
    loaded = set(re.findall(r"\s(/\S*/lib(?:sqlite3|ssl|crypto)\.so\S*)", maps.read_text()))
    assert len(loaded) == 3, loaded  # noqa: S101
    foreign = [path for path in loaded if not path.startswith(os.path.realpath(sys.prefix) + os.sep)]
    assert not foreign, foreign  # noqa: S101
print("SQLite", sqlite3.sqlite_version, "and", ssl.OPENSSL_VERSION, "in", sys.prefix)  # noqa: T201
