"""Database URLs as people have them, in the words of libpq, for a driver that does not know all of these words.

psycopg is libpq. asyncpg takes every word that it does not know for a setting of the server, which then refuses it; so
what says how to connect is taken out of the URL and applied here. The words are those of PostgreSQL 18's documentation
of libpq, "Parameter Key Words".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import unquote_plus, unquote_to_bytes

from jobplane.errors import ConfigurationError, shown

_SPLIT: Final = re.compile(r"(?P<before>[^?#]*)(?:\?(?P<query>.*))?", re.DOTALL)
_SCHEME: Final = re.compile(r"(postgres(?:ql)?)\+[a-z0-9_]{1,20}://", re.IGNORECASE)
_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
KEEPALIVE: Final = frozenset(
    {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
"""Whole numbers: how soon the system notices a network that passes nothing."""
_WITHOUT_EFFECT: Final = frozenset(
    {
        "fallback_application_name",
        "gssdelegation",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "sslcompression",
        "sslkeylogfile",
        "sslsni",
    }
)
"""What the driver has no choice in, or what it does not change whether the connection is the one that was meant."""
_DEMANDS: Final[Mapping[str, frozenset[str]]] = {
    "gssencmode": frozenset({"disable", "prefer"}),
    "sslcertmode": frozenset({"disable", "allow"}),
    "require_auth": frozenset(),
    "requirepeer": frozenset(),
    "scram_client_key": frozenset(),
    "scram_server_key": frozenset(),
    "sslcrldir": frozenset(),
}
"""What the driver cannot see to, with the values that ask for nothing: all others are refused, not passed over."""
_BINDINGS: Final = frozenset({"disable", "prefer", "require"})
_logger = logging.getLogger("jobplane.client")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that asyncpg understands, and what it said beside that.

    Attributes:
        url: with the words that asyncpg knows.
        connect_timeout: seconds; 0 and None: the URL names no limit.
        keepalive: the words of KEEPALIVE that it had, as numbers.
    """

    url: str
    connect_timeout: int | None
    keepalive: Mapping[str, int]


def plain(url: str) -> str:
    """A URL without white space around it, without SQLAlchemy's name of a driver, and with sslmode for ssl."""
    url = _SCHEME.sub(r"\1://", url.strip(), count=1) if "+" in url else url.strip()
    before, query = _parts(url)
    if not any(piece.startswith("ssl=") for piece in query):
        return url
    return _joined(before, [_sslmode(piece) for piece in query])


def for_asyncpg(url: str) -> Target:
    """What asyncpg is to be given for a URL.

    Raises ConfigurationError for a number that is none, for a demand that asyncpg cannot see to, and for what is no text:
    the driver would quote it, with its password, in errors of its own.
    """
    try:
        unquote_to_bytes(url).decode()
    except UnicodeError:
        raise ConfigurationError(
            "the database URL (not shown: not UTF-8) cannot be read: write it in UTF-8, with special characters in user "
            "and password percent-encoded"
        ) from None
    before, query = _parts(url)
    kept, connect_timeout, keepalive, addresses = [], None, {}, ""
    for piece in query:
        name, _, raw = piece.partition("=")
        value = unquote_plus(raw)
        if name == "connect_timeout":
            connect_timeout = max(_number(name, value), 0)
        elif name in KEEPALIVE:
            keepalive[name] = _number(name, value)
        elif name == "hostaddr":
            addresses = value
        elif name == "channel_binding":
            _check_binding(value)
        elif name in _DEMANDS:
            _check_demand(name, value)
        elif name not in _WITHOUT_EFFECT:
            kept.append(piece)
    if addresses:
        before, kept = _at(addresses.split(","), before, kept)
    return Target(_joined(before, kept), connect_timeout, keepalive)


def _parts(url: str) -> tuple[str, list[str]]:
    found = _SPLIT.fullmatch(url)
    if found is None or not found["query"]:
        return url, []
    return found["before"], [piece for piece in found["query"].split("&") if piece]


def _joined(before: str, query: list[str]) -> str:
    return f"{before}?{'&'.join(query)}" if query else before


def _sslmode(piece: str) -> str:
    value = piece.removeprefix("ssl=")
    mode = {"true": "require", "1": "require", "false": "disable", "0": "disable"}.get(value.lower(), value)
    return f"sslmode={mode}" if piece.startswith("ssl=") and mode in _MODES else piece


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", value, re.ASCII):
        raise ConfigurationError(f"{name} in the database URL must be a whole number; got {shown(value)}")
    return int(value)


def _at(addresses: list[str], before: str, query: list[str]) -> tuple[str, list[str]]:
    """The URL with addresses where its hosts were, which the driver would look up."""
    if "sslmode=verify-full" in query:
        raise ConfigurationError(
            "hostaddr in the database URL: the asynchronous driver (asyncpg) cannot connect to an address and compare the "
            "certificate with another name (sslmode=verify-full); take hostaddr out"
        )
    scheme, _, rest = before.partition("://")
    authority, slash, path = rest.partition("/")
    login, at, hosts = authority.rpartition("@")
    names = hosts.split(",")
    ports = [
        re.search(r":\d+$", name)
        for name in (names if len(names) == len(addresses) else names[:1] * len(addresses))
    ]
    there = ",".join(
        (f"[{address}]" if ":" in address else address) + (port[0] if port else "")
        for address, port in zip(addresses, ports, strict=True)
    )
    return f"{scheme}://{login}{at}{there}{slash}{path}", [
        piece for piece in query if not piece.startswith("host=")
    ]


def _check_binding(value: str) -> None:
    if value not in _BINDINGS:
        raise ConfigurationError(
            f"channel_binding in the database URL must be one of {', '.join(sorted(_BINDINGS))}; got {shown(value)}"
        )
    if value == "require":
        _warn_of_binding()


@cache
def _warn_of_binding() -> None:
    """Once in a process: hosting services put the word into every URL that they hand out."""
    _logger.warning(
        "channel_binding=require: the asynchronous driver (asyncpg) knows no channel binding and connects without it; "
        "sslmode=verify-full protects against a server in the middle"
    )


def _check_demand(name: str, value: str) -> None:
    if value not in _DEMANDS[name]:
        raise ConfigurationError(
            f"{name} in the database URL asks for what the asynchronous driver (asyncpg) cannot see to: take it out, or "
            "use the synchronous client"
        )
