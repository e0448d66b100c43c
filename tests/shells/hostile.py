"""Hostile settings: values, keys, lines, and names of files and folders, in every settings file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prefect_env.settings import printable
from shells.fixtures import certificates, make_prefix
from shells.wine_python import CODE_PAGE

CANARY = "canary"
PAYLOADS = (
    "$(touch canary)", "`touch canary`", "${IFS}$(touch${IFS}canary)", ";touch canary", "&touch canary",
    "&&touch canary", "|touch canary", "||touch canary", "\ntouch canary\n", "\rtouch canary", "\x00touch canary",
    "' ; touch canary ; '", '" ; touch canary ; "', "';touch canary;#", '";touch canary;#', "\\';touch canary;\\'",
    "%COMSPEC% /c touch canary", "%PATH%", "!touch canary", "!!", "!x!", "^&touch canary", "(touch canary)",
    "{touch,canary}", "<(touch canary)", ">canary", "2>canary", "$((1+1))", "$PATH", "${PATH}", "~root", "*", "?",
    "[a-z]*", "@(touch canary)", "$[touch canary]", "\x1b]0;x\x07", "é\u202e\u2028", "\xff\xfe", "\udcff\udcfe",
    "a" * 8001, "b" * (1 << 20), "10.0.0.0/24," * 600, "é" * 7900, "'", '"', "\\", "\\\\'", "#", " x ", "\tx\t", "",
    "=", "=ls", "x:=ls:~root", "'\"'\"'", "$'\\x27'", "\"$(touch canary)\"", "export X=1", "set -e", "exit 7",
    "return 7", "(", ")", "end", "endif",
)  # fmt: skip
FOR_CMD = (
    '"&touch canary&"', '"&touch canary', 'x"y"z"&touch canary', '""', "^", "^^", "^^&touch canary", "a^!b^c!PATH!",
    "!PATH!", "!COMSPEC! /c touch canary", "!__pe_fresh!", "%~0", "%0", "%*", "%~dp0", "%%", "%%PATH%%", "%", "%%%",
    "%PATH:~0,3%", "%=ExitCode%", "%CMDCMDLINE%", "%ERRORLEVEL%", "%__pe_state%", "%A %%B", ") else touch canary",
    ")&touch canary&(", "@touch canary", "<canary", ">>canary", "2>&1>canary", ",", "/?", "nul", "CON:", ":undo",
    "goto :eof", "exit /b 1", "\x1atouch canary", "\ufeff", "\x85touch canary", "\xa0x", "!" * 5000, "^!" * 2500,
    "%" * 4000, "c" * 8191,
)  # fmt: skip
"""What cmd.exe could take for its own, and lengths at its limits."""

PLACES = (
    "HTTPS_PROXY=http://me:{}@proxy.corp:3128",
    "HTTP_PROXY=http://{}@h:1",
    "ALL_PROXY=http://{}:3128",
    "NO_PROXY=a.corp,{}",
    "PREFECT_API_URL=https://prefect.corp/{}",
    "CA_FILE={}",
    "TELEMETRY={}",
    "{}=x",
    "LD_PRELOAD={}",
    "PATH={}",
    "{}",
    "ComSpec={}",
    "PATHEXT={}",
    "ERRORLEVEL={}",
    "CD={}",
    "__PREFECT_ENV={}",
    "__pe_state={}",
    "BASH_ENV={}",
)
"""Where a payload stands in a settings file."""


@dataclass(frozen=True)
class Hostile:
    """One payload, and folders named like it: the environment, the user's configuration and the project."""

    payload: str
    prefix: Path
    config: Path
    project: Path


def file_name(payload: str) -> str:
    """The payload as a file's name on Linux."""
    return re.sub(r"[/\0]", "_", payload)[:40]


def folder_name(payload: str) -> str:
    """The same without control characters, which are refused."""
    return "".join(char for char in file_name(payload) if printable(char))


def windows_name(payload: str) -> str:
    """The payload as a name on Windows, in the code page that wine has here."""
    name = re.sub(r'[<>:"|?*\\]', "", folder_name(payload))
    return name.encode(CODE_PAGE, errors="ignore").decode(CODE_PAGE).strip(" .")


def wine_prefix_name(payload: str) -> str:
    """The same for an environment in wine, which expands ``%PATH%`` in the value of ``%CONDA_PREFIX%`` once more."""
    return windows_name(payload).replace("%", "")


def quiet_name(payload: str) -> str:
    """The same for an environment under ``cmd /V:ON``, which cannot have an exclamation mark."""
    return wine_prefix_name(payload).replace("!", "")


LINUX = (folder_name, folder_name, file_name)
WINE = (wine_prefix_name, windows_name, windows_name)
DELAYED = (quiet_name, windows_name, windows_name)
"""How the environment, the user's and the project's folders, and files in the environment are named."""


def content(payload: str, number: int, layer: int) -> bytes:
    """One of three settings files; the payload stands in each of the places in one of them. CRLF and BOM come too."""
    lines = [place.format(payload) for index, place in enumerate(PLACES) if (index + number) % 3 == layer]
    text = ("\r\n" if number % 2 else "\n").join(lines).encode(errors="surrogateescape")
    return b"\xef\xbb\xbf" * (number % 5 == 0) + text


def lay_out(payloads: Iterable[str], place: Path, names: tuple[Callable[[str], str], ...]) -> list[Hostile]:
    """Folders and settings files for each payload, and certificates in hostile files, named by LINUX or WINE."""
    made = certificates(place / "certificates")
    found = []
    for number, payload in enumerate(payloads):
        prefix, folder, file = (name(payload) for name in names)
        one = Hostile(
            payload, place / f"{number}-{prefix}", place / f"user{number}-{folder}", place / f"project{number}-{folder}"
        )
        make_prefix(one.prefix, roots=made.path("root"), websockets=16)
        site = one.prefix / "etc/prefect-env/site.d"
        (one.config / "prefect-env").mkdir(parents=True)
        one.project.mkdir()
        settings = (site / "10.conf", one.config / "prefect-env/prefect-env.conf", one.project / "prefect-env.conf")
        for layer, path in enumerate(settings):
            path.write_bytes(content(payload, number, layer))
        (site / f"{file}.conf").write_bytes(b"TELEMETRY=off\nCA_FILE=" + os.fsencode(f"{file}.pem"))
        (site / f"{file}.pem").write_bytes(Path(made.path("corp")).read_bytes())
        found.append(one)
    return found
