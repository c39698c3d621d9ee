"""Secrets that error messages carry by accident, starred out before the message is kept (S5).

Only what looks like a secret by its form: the message must stay worth reading, and a word too many is a word that an
operator misses at night. So each rule wants a name or a shape beside the value, and ordinary sentences about
passwords and tokens pass unchanged.

| found in a message                                   | kept                                    |
|------------------------------------------------------|-----------------------------------------|
| postgresql://user:password@host/db?sslpassword=x     | postgresql://***@host/db?sslpassword=*** |
| Authorization: Bearer abc, Bearer abc123             | Authorization: Bearer ***, Bearer ***   |
| Cookie: session=abc                                  | Cookie: ***                             |
| password=x, "api_key": "x", client_secret: 'x'       | the name, then ***                      |
| eyJ..., a JSON Web Token                             | ***                                     |
| -----BEGIN RSA PRIVATE KEY----- ...                  | -----BEGIN RSA PRIVATE KEY----- ***     |
| Failing row contains (...), of PostgreSQL            | Failing row contains (***)              |
| input_value=..., of pydantic                         | input_value=***                         |
"""

from __future__ import annotations

import re
from typing import Final

STARS: Final = "***"
_NAMES: Final = (
    r"passwords?|passwd|passphrase|pwd|secrets?|token|credentials?"
    r"|api[_-]?keys?|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key"
)
_WORDS: Final = ("passw", "passphrase", "pwd", "secret", "token", "credential", "key")
_NAMED: Final = rf"(?<![\w-])(?<!unexpected )(?:[\w-]*[_-]|pg|ssl|my)?(?:{_NAMES})"
_QUOTED: Final = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""
_BARE: Final = r"""[^\s,;&)\]}'"<>]+"""
_NOT_NOTHING: Final = r"""(?!(?:None|null|true|false)\b|''|"")"""

# Each with words of which one must be there: a storm of failures should not spend milliseconds on each message
# (4 KiB without any of them: 6.4 ms with every pattern tried, 0.1 ms so).
_RULES: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (
        ("private key-----",),
        re.compile(
            r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?! \*\*\*)(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)",
            re.DOTALL,
        ),
        rf"\1 {STARS}",
    ),
    # Up to the last @ before the path. A slash in the password should be encoded and often is not; what begins as a
    # port does not count, or https://host:443/@name would lose its host.
    (
        ("://",),
        re.compile(
            r"(?<![\w+.-])([a-z][a-z0-9+.-]{1,30}://)(?:[^\s/?#'\"<>]*@|[^\s/?#@:'\"<>]*:(?!\d+[/?#])[^\s'\"<>]*@)",
            re.IGNORECASE,
        ),
        rf"\1{STARS}@",
    ),
    (
        ("authorization",),
        re.compile(
            r"((?:proxy-)?authorization[\"']?\s*[:=]\s*(?:b(?=[\"']))?[\"']?)"
            r"((?:bearer|basic|token|digest|negotiate)\s+)?[^\s\"',;}]+",
            re.IGNORECASE,
        ),
        rf"\1\2{STARS}",
    ),
    (
        ("cookie",),
        re.compile(r"(\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)[^\s=;]+=[^\n\"']*", re.IGNORECASE),
        rf"\1{STARS}",
    ),
    # "Bearer authentication failed" is a sentence: a token has a digit, or is longer than a word.
    (
        ("bearer",),
        re.compile(r"(?<!\w)(bearer\s+)(?=\S*\d|\S{20})[\w.~+/=-]{6,}", re.IGNORECASE),
        rf"\1{STARS}",
    ),
    (("eyj",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), STARS),
    (
        _WORDS,
        re.compile(rf"({_NAMED}\s*=\s*){_NOT_NOTHING}(?:{_QUOTED}|{_BARE})", re.IGNORECASE),
        rf"\1{STARS}",
    ),
    # As JSON and dicts are written: the name in quotes, or headers and YAML, where only a value with a digit or in
    # quotes is told from "invalid password: too short".
    (
        _WORDS,
        re.compile(
            rf"({_NAMED}(?:[\"']\s*:\s*b?(?=\S)|\s*:\s*(?=[\w.~+/=!@#$%^*-]*\d|[\"'][^\s\"']{{4}})))"
            rf"{_NOT_NOTHING}(?:{_QUOTED}|{_BARE})",
            re.IGNORECASE,
        ),
        rf"\1{STARS}",
    ),
    (("failing row",), re.compile(r"(Failing row contains \().*\)", re.DOTALL), rf"\1{STARS})"),
    (("input_value=",), re.compile(r"(\binput_value=).*?(?=, input_type=|\]$|$)", re.DOTALL), rf"\1{STARS}"),
)
_URL_WITH_QUERY: Final = re.compile(
    r"([a-z][a-z0-9+.-]{1,30}://[^\s?#'\"<>]*)([?#][^\s'\"<>]+)", re.IGNORECASE
)
_VALUE: Final = re.compile(r"=[^&#;]*")


def redacted(text: str) -> str:
    """The text with secrets starred out. What holds none comes back unchanged."""
    lowered = text.lower()
    for words, pattern, replacement in _RULES:
        if any(word in lowered for word in words):
            text = pattern.sub(replacement, text)
    return _URL_WITH_QUERY.sub(_without_values, text) if "://" in lowered else text


def _without_values(match: re.Match[str]) -> str:
    # The names say what was asked for; the values may be signatures and tokens.
    address, query = match[1], match[2]
    return address + (_VALUE.sub(f"={STARS}", query) if "=" in query else query)


def masked(url: str) -> str:
    """A database URL that may be printed: without its password, wherever it stands."""
    # The longest reading counts: a password may hold the @, : and / that should have been encoded.
    url = re.sub(r"(://[^:/@\s?]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    url = re.sub(r"^([^:/@\s=]*):(?!//).*@", r"\1:***@", url, flags=re.DOTALL)  # the scheme was forgotten
    # Without an @ what follows the colon is a port, or the password of someone who forgot the host.
    url = re.sub(r"(://[^:/@\s?\[]+):(?!\*\*\*@|\d*(?:[/?,]|$))[^/?]*", r"\1:***", url)
    return re.sub(
        r"(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^&\s]*)", r"\1***", url, flags=re.IGNORECASE | re.DOTALL
    )


def holds_password(url: str) -> bool:
    """Whether a database URL has a password in it."""
    return masked(url) != url
