"""Take secrets out of text: those that are known, in every form they may be written in, and what looks like one."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"

LEAST = 4
"""A shorter secret is not looked for everywhere, it would take ordinary words out; as part of a URL it is found."""

_WORD = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|api_?-?key|auth|credential|private_?-?key|access_?-?key|signature"
    r"|sig(?![a-z])|cookie|webhook|connection_?-?url|dsn|custom_?-?headers|session"
)
_SECRET_NAME = re.compile(rf"{_WORD}|(?:^|[_-])(?:key|pass)$", re.IGNORECASE)
_PLAIN_NAMES = {"PWD", "OLDPWD"}
_PLAIN_VALUES = {"", "true", "false", "yes", "no", "on", "off", "none", "null", "default", "basic"}

_LOGIN = re.compile(r"(?<=://)[^\s\"<>]{0,1024}@")
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (_LOGIN, f"{HIDDEN}@"),
    (re.compile(r"(?<=%3A%2F%2F)[^\s\"'<>]{0,1024}%40", re.IGNORECASE), f"{HIDDEN}%40"),
    (re.compile(r"\b(bearer|basic|negotiate|digest)(\s+|%20)[\w.~+/=%-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            rf"((?:{_WORD})[\w.-]{{0,64}}(?:\\?[\"'])?[ \t]*(?:=>|[:=]|%3D)[ \t]*)"
            # a value in quotes (within quotes), or a word; its end may be missing, so that nothing is tried twice
            r"(\\\"(?:(?!\\\").)*(?:\\\")?|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?"
            r"|(?:(?:bearer|basic)[ \t]+)?[^\s&;,\"'<>\\]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"/t/[\w-]{6,}(?=/)"), f"/t/{HIDDEN}"),  # a conda channel's token
    # keys of Prefect Cloud, GitHub, GitLab, Slack, AWS; JSON web tokens
    (
        re.compile(
            r"\b(?:pn[ub]_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AKIA|ASIA|sk-)[\w-]{8,}|\beyJ[\w-]+\.[\w.-]+"
        ),
        HIDDEN,
    ),
)


class Redactor:
    """Takes ``secrets`` and what looks like a secret out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in written(secret) if len(form) >= LEAST}
        # the longest first: a password may be part of the login that holds it
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, ordered)) or r"(?!)", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """``text`` without secrets."""
        text = self._known.sub(HIDDEN, text)
        for pattern, new in _PATTERNS:
            text = pattern.sub(new, text)
        return text

    def data(self, value: Any) -> Any:
        """What JSON holds, without secrets in its strings (nor in the names of objects' members)."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self(name): self.data(member) for name, member in value.items()}
        return [self.data(member) for member in value] if isinstance(value, list) else value


def masked(text: str) -> str:
    """``text`` without the logins of the URLs in it, even of URLs that are badly written."""
    return _LOGIN.sub(f"{HIDDEN}@", text)


def is_secret(name: str) -> bool:
    """Whether a setting or variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name)) and name not in _PLAIN_NAMES


def secrets_of(values: Mapping[str, str]) -> Iterator[str]:
    """The secrets among settings or variables: what has a secret's name, and the logins in URLs of the others."""
    for name, value in values.items():
        yield from logins(value)
        if not is_secret(name) or _plain(value):
            continue
        if "://" not in value:
            yield value
            yield from value.split(":", 1)  # user:password, as PREFECT_API_AUTH_STRING has it
        elif not re.search("connection_?url|dsn", name, re.IGNORECASE):
            yield value.partition("://")[2]
        yield from re.findall(r":\s*\"((?:[^\"\\]|\\.)*)\"", value)  # JSON, as PREFECT_CLIENT_CUSTOM_HEADERS has it


def logins(text: str) -> Iterator[str]:
    """User and password of every URL in ``text``: together, and the password alone."""
    for match in _LOGIN.finditer(text):
        login = match[0][:-1]
        yield login
        _, colon, password = login.partition(":")
        yield password if colon else login
    yield from re.findall(r"/t/([\w-]{6,})(?:/|$)", text)  # a conda channel's token
    for match in re.finditer(rf"[?&][\w-]{{0,64}}(?:{_WORD}|key)=([^&\s\"'#]+)", text, re.IGNORECASE):
        yield match[1]


def _plain(value: str) -> bool:
    """Whether a value is no secret whatever its name: a switch, a number, a file."""
    if value.strip().lower() in _PLAIN_VALUES or re.fullmatch(r"[\d.]{1,6}", value):
        return True
    try:
        return value.startswith(("/", "~")) and Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def written(secret: str) -> set[str]:
    """The forms in which ``secret`` may be written: encoded for URLs, JSON, HTML and basic authentication."""
    found = set()
    once = unquote(secret)  # and git decodes a second time
    for plain in {secret, once, unquote(once), unquote_plus(secret), secret.strip("\"' "), *secret.splitlines()}:
        forms = {plain, quote(plain), quote(plain, safe=""), quote(plain, safe="!$&'()*+,;=:"), quote_plus(plain)}
        forms |= {quote(form, safe="") for form in forms}
        forms |= {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
        forms |= {html.escape(plain), html.escape(plain, quote=False)}
        raw = plain.encode(errors="surrogateescape")
        forms |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
        found |= forms
    return {form for form in found if form.strip()}
