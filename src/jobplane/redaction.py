"""Secrets that error messages carry by accident, starred out before the message is kept (S5).

Only what looks like a secret by its form: the message must stay worth reading, and a word too many is a word that an
operator misses at night. So each rule wants a name or a shape beside the value, and ordinary sentences about
passwords and tokens pass unchanged.

Whoever enqueues a job chooses text that ends in its error, and this runs on the worker's event loop. So the work is
bounded: only the beginning of a text is looked at, and each rule takes time in proportion to it, whatever it holds. No
rule may look ahead over a stretch of text that a later match of it looks over again, unless the stretch is short.

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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

STARS: Final = "***"
MOST_CHARACTERS: Final = 16_384
"""What is looked at of a text, and kept of it, unless the caller says less."""
_NAMES: Final = (
    r"passwords?|passwd|passphrase|pwd|secrets?|token|credentials?"
    r"|api[_-]?keys?|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key"
)
_WORDS: Final = ("passw", "passphrase", "pwd", "secret", "token", "credential", "key")
_NAMED: Final = rf"(?<![\w-])(?<!unexpected )(?:[\w-]*[_-]|pg|ssl|my)?(?:{_NAMES})"
_QUOTED: Final = r"""(?:"(?:[^"\\]|\\(?s:.))*"?|'(?:[^'\\]|\\(?s:.))*'?)"""
_BARE: Final = r"""[^\s,;&)\]}'"<>]+"""
_NOT_NOTHING: Final = r"""(?!(?:None|null|true|false)\b|''|"")"""


def _replacing(pattern: str, replacement: str, flags: re.RegexFlag = re.IGNORECASE) -> Callable[[str], str]:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.sub(replacement, text)


_RUN: Final = re.compile(r"[^\s'\"<>]+")
"""What a URL may be a part of."""
_SCHEME: Final = re.compile(r"(?<![\w+.-])([a-z][a-z0-9+.-]{1,30})://", re.IGNORECASE)
_AFTER_AUTHORITY: Final = re.compile(r"[/?#]")
_PORT: Final = re.compile(r":\d+[/?#]")
_VALUE: Final = re.compile(r"=[^&#;]*")


def _without_user_info(text: str) -> str:
    return _RUN.sub(lambda run: _run_without_user_info(run[0]) if "://" in run[0] else run[0], text)


def _run_without_user_info(run: str) -> str:
    last = run.rfind("@")
    kept, done = [], 0
    for scheme in _SCHEME.finditer(run):
        begin = scheme.end()
        if begin > last:
            break
        if begin < done:
            continue
        slash = _AFTER_AUTHORITY.search(run, begin)
        authority_ends = slash.start() if slash else len(run)
        at = run.rfind("@", begin, authority_ends)
        if at >= 0 and scheme[1].lower() not in ("http", "https"):
            at = last  # of the web alone, paths have an @ of their own
        elif at < 0:
            # A slash in the password should be encoded and often is not; what begins as a port does not count, or
            # https://host:443/@name would lose its host.
            colon = run.find(":", begin, authority_ends)
            if colon < 0 or _PORT.match(run, colon):
                continue
            at = last
        kept += [run[done:begin], STARS]
        done = at
    return "".join([*kept, run[done:]])


def _without_query_values(text: str) -> str:
    return _RUN.sub(lambda run: _run_without_query_values(run[0]) if "://" in run[0] else run[0], text)


def _run_without_query_values(run: str) -> str:
    # The names say what was asked for; the values may be signatures and tokens.
    address, separator, rest = run.partition("://")
    query = re.search(r"[?#]", rest)
    if query is None:
        return run
    path, values = rest[: query.start()], rest[query.start() :]
    return f"{address}{separator}{path}{_VALUE.sub(f'={STARS}', values)}"


@dataclass(frozen=True, slots=True)
class _Rule:
    words: tuple[str, ...]
    """One of these must be there, in lower case: a storm of failures should not spend milliseconds on each message
    (4 KiB without any of them: 6.4 ms with every pattern tried, 0.1 ms so)."""
    starred: Callable[[str], str]
    ending: str = ""
    """What makes a secret of any beginning of one: it stands in for what follows where a text was cut."""


_RULES: Final = (
    _Rule(
        ("private key-----",),
        _replacing(
            r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?! \*\*\*)(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)",
            rf"\1 {STARS}",
            re.DOTALL,
        ),
    ),
    _Rule(("://",), _without_user_info, "@"),
    _Rule(
        ("authorization",),
        _replacing(
            r"((?:proxy-)?authorization[\"']?\s*[:=]\s*(?:b(?=[\"']))?[\"']?)"
            r"((?:bearer|basic|token|digest|negotiate)\s+)?[^\s\"',;}]+",
            rf"\1\2{STARS}",
        ),
    ),
    # A name is short; what is too long for one is starred out rather than looked over again.
    _Rule(
        ("cookie",),
        _replacing(
            r"(\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)(?:[^\s=;]{1,255}=|[^\s=;]{256})[^\n\"']*", rf"\1{STARS}"
        ),
        "=",
    ),
    # "Bearer authentication failed" is a sentence: a token has a digit, or is longer than a word.
    _Rule(
        ("bearer",),
        _replacing(r"(?<!\w)(bearer\s+)(?=\S*\d|\S{20})[\w.~+/=-]{6,}", rf"\1{STARS}"),
        "0" * 20,
    ),
    _Rule(
        ("eyj",),
        _replacing(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?", STARS, re.NOFLAG),
        "00000000.0",
    ),
    _Rule(
        _WORDS, _replacing(rf"({_NAMED}\s*=\s*){_NOT_NOTHING}(?:{_QUOTED}|{_BARE})", rf"\1{STARS}"), "0000"
    ),
    # Like JSON and dicts: the name in quotes; or headers and YAML, where only a value with a digit or in quotes is
    # told from "invalid password: too short".
    _Rule(
        _WORDS,
        _replacing(
            rf"({_NAMED}(?:[\"']\s*:\s*b?(?=\S)|\s*:\s*(?=[\w.~+/=!@#$%^*-]*\d|[\"'][^\s\"']{{4}})))"
            rf"{_NOT_NOTHING}(?:{_QUOTED}|{_BARE})",
            rf"\1{STARS}",
        ),
        "0000",
    ),
    # Without its end the whole rest may be the row.
    _Rule(
        ("failing row",),
        _replacing(r"(Failing row contains \()(?:.*\)|.*)", rf"\1{STARS})", re.DOTALL),
    ),
    _Rule(
        ("input_value=",),
        _replacing(r"(\binput_value=).*?(?=, input_type=|\]$|$)", rf"\1{STARS}", re.DOTALL),
    ),
    _Rule(("://",), _without_query_values),
)


def redacted(text: str, most: int = MOST_CHARACTERS) -> str:
    """The beginning of a text, with secrets starred out. A short one that holds none comes back unchanged.

    Of more than `most` characters the rest is left out. What may be the beginning of a secret is starred out at that
    cut, as though the secret went on.
    """
    if len(text) <= most:
        return _starred(text, cut=False)
    return _starred(text[:most], cut=True) + "…"


def _starred(text: str, *, cut: bool) -> str:
    folded = text.casefold()
    for rule in _RULES:
        if any(word in folded for word in rule.words):
            if cut and rule.ending:
                text = rule.starred(text + rule.ending).removesuffix(rule.ending)
            else:
                text = rule.starred(text)
    return text


UNREADABLE: Final = "(not shown: not in the form of a URL)"
"""Stands for a database URL that may hold a password in any place."""
_HOST: Final = r"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]|(?:%2[Ff][\w.-]*)+)(?::\d{1,5})?"
_DATABASE_URL: Final = re.compile(
    rf"(?P<scheme>postgres(?:ql)?(?:\+[a-z0-9_]{{1,20}})?)://"
    r"(?:(?P<user>[^:/?#@\s]*)(?P<password>:[^:/?#@\s]*)?@)?"
    rf"(?P<hosts>(?:{_HOST}(?:,{_HOST})*)?)"
    r"(?P<name>(?:/[\w.~%+-]{0,190})?)"
    r"(?:\?(?P<query>[^#\s]*))?",
    re.ASCII,
)
_PARAMETER: Final = re.compile(r"[a-z_]{1,40}=[\w.,:/%~+-]*", re.ASCII)
_PLAIN_USER: Final = re.compile(r"[\w.-]{1,63}", re.ASCII)
_SHOWN_PARAMETERS: Final = frozenset(
    {
        "application_name",
        "channel_binding",
        "connect_timeout",
        "dbname",
        "gssencmode",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "port",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
        "user",
    }
)


def masked(url: str) -> str:
    """A database URL that may be printed: its parts, with what is or may be a secret starred out.

    Whatever is not written exactly as a URL of PostgreSQL is not shown at all: one character that is missing or too many
    moves the password to where something else should stand.
    """
    parts = _DATABASE_URL.fullmatch(url)
    if parts is None:
        return UNREADABLE
    parameters = parts["query"].split("&") if parts["query"] else []
    if not all(_PARAMETER.fullmatch(parameter) for parameter in parameters):
        return UNREADABLE
    user = ""
    if parts["user"] is not None:
        user = parts["user"] if _PLAIN_USER.fullmatch(parts["user"]) else STARS if parts["user"] else ""
        user += f":{STARS}@" if parts["password"] else "@"
    query = "&".join(map(_shown_parameter, parameters))
    return f"{parts['scheme']}://{user}{parts['hosts']}{parts['name']}{'?' if query else ''}{query}"


def _shown_parameter(parameter: str) -> str:
    name, _, _ = parameter.partition("=")
    return parameter if name in _SHOWN_PARAMETERS else f"{name}={STARS}"


_QUOTED_NAME: Final = re.compile(
    r"""\b(user|role|database|host(?: name)?) (?:"([^"\n]{0,1000})"|'([^'\n]{0,1000})')"""
)
_PLAIN_NAME: Final = re.compile(r"[\w.-]{1,255}")


def without_odd_names(message: str) -> str:
    """What a server or a driver said while somebody connected, with unusual names of roles, databases and hosts starred out.

    They repeat what they were given: a slip such as `;` for `:` makes the password a part of the user's name.
    """
    return _QUOTED_NAME.sub(_plain_name, message)


def _plain_name(found: re.Match[str]) -> str:
    name = found[2] if found[2] is not None else found[3]
    plain = name.replace(":", "") if found[1].startswith("host") else name  # an address of IPv6
    return found[0] if _PLAIN_NAME.fullmatch(plain) else f'{found[1]} "{STARS}"'


def holds_password(url: str) -> bool:
    """Whether a database URL has a password in it, or something that may be meant for one."""
    shown = masked(url)
    return shown == UNREADABLE or STARS in shown
