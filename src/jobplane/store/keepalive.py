"""Lets the system notice a network that passes nothing: a connection over it neither ends nor says anything.

Sent data that nobody acknowledges, and silence of an idle connection that does not answer a probe, end the connection
after settings.network_timeout. The system's own defaults are a quarter of an hour and two hours.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import asyncpg

PROBES: Final = 3
IDLE_SHARE: Final = 2
"""Half of the time passes before the first probe, the other half between the probes."""


class _Transport(Protocol):
    def get_extra_info(self, name: str) -> object: ...


def watch_over(
    connection: asyncpg.Connection[asyncpg.Record], limit: timedelta, given: Mapping[str, int]
) -> None:
    """Let a connection end when the network has passed nothing for `limit`. Does nothing for a Unix socket.

    What is `given` in the words of libpq wins, as it does for psycopg; 0 is the system's own choice.
    """
    found = socket_of(connection)
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, name, value in _options({**conninfo_options(limit), **given}):
        found.setsockopt(level, name, value)


def socket_of(connection: asyncpg.Connection[asyncpg.Record]) -> socket.socket | None:
    """The socket of a connection; None where the driver does not show it."""
    # It has no word for this. What a transport gives looks like a socket and need not be one.
    transport = cast("_Transport | None", getattr(connection, "_transport", None))
    return None if transport is None else cast("socket.socket | None", transport.get_extra_info("socket"))


def conninfo_options(limit: timedelta) -> dict[str, int]:
    """The same in the words of libpq."""
    idle, interval = _seconds(limit)
    return {
        "keepalives_idle": idle,
        "keepalives_interval": interval,
        "keepalives_count": PROBES,
        "tcp_user_timeout": limit // timedelta(milliseconds=1),
    }


def _options(words: Mapping[str, int]) -> list[tuple[int, int, int]]:
    names = {
        # Not every system has each of them, and macOS has another name for the first.
        "TCP_KEEPIDLE": "keepalives_idle",
        "TCP_KEEPALIVE": "keepalives_idle",
        "TCP_KEEPINTVL": "keepalives_interval",
        "TCP_KEEPCNT": "keepalives_count",
        "TCP_USER_TIMEOUT": "tcp_user_timeout",
    }
    there = [
        (socket.IPPROTO_TCP, int(getattr(socket, name)), words[word])
        for name, word in names.items()
        if hasattr(socket, name) and words[word] > 0
    ]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(words.get("keepalives", 1) != 0)), *there]


def _seconds(limit: timedelta) -> tuple[int, int]:
    idle = max(int(limit.total_seconds() / IDLE_SHARE), 1)
    return idle, max(int((limit.total_seconds() - idle) / PROBES), 1)
