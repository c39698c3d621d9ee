"""What a forked child inherits of the drivers and of the event loop: made harmless to the parent, never closed.

See jobplane.forking. A socket that leads nowhere is not enough for these two:

- asyncpg cancels a statement over a connection of its own, which a child could still open: it would end what the
  parent's statement does.
- An event loop shares the kernel's list of what it waits for (epoll) with its copy in the child, which would remove
  the parent's entries when it is closed, and the pair of sockets by which threads wake it.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Final

import asyncpg

from jobplane import forking
from jobplane.errors import ForkedProcessError
from jobplane.store.keepalive import socket_of

_NOWHERE: Final = "/dev/null/forked"
"""The path of a Unix socket that cannot exist."""


class _Connections:
    """The open connections of this process."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[asyncpg.Connection[asyncpg.Record]] = weakref.WeakSet()
        forking.renew_in_child(self._begin_afresh)

    def add(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._open.add(connection)

    def _begin_afresh(self) -> None:
        for connection in list(self._open):
            # The driver has no word for this: where it would send its request to cancel.
            setattr(connection, "_addr", _NOWHERE)  # noqa: B010 - private, so not known to the type checker
            forking.keep(connection)
        self._open = weakref.WeakSet()


_connections = _Connections()


def guard(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Take a new connection away from children that are forked from now on."""
    _connections.add(connection)
    found = socket_of(connection)
    if found is not None and (descriptor := found.fileno()) >= 0:
        forking.guard(descriptor)


def abandon(loop: asyncio.AbstractEventLoop) -> None:
    """In a forked child: let nothing that becomes of the parent's event loop here reach the parent.

    Does nothing for a closed loop.
    """
    forking.keep(loop)
    if loop.is_closed():
        return
    ends = [getattr(loop, name, None) for name in ("_ssock", "_csock")]
    forking.sever([end.fileno() for end in ends if isinstance(end, socket.socket) and end.fileno() >= 0])
    waits_on = _epoll_of(loop)
    if sys.platform == "linux" and waits_on is not None:
        with select.epoll() as empty:
            os.dup2(empty.fileno(), waits_on, inheritable=False)


def _epoll_of(loop: asyncio.AbstractEventLoop) -> int | None:
    selector = getattr(loop, "_selector", None)
    if sys.platform == "linux" and isinstance(selector, selectors.EpollSelector):
        return selector.fileno()
    of_uvloop: Callable[[], int] | None = getattr(loop, "_get_backend_id", None)
    return None if of_uvloop is None else of_uvloop()


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs the caller. Raises ForkedProcessError in a child that goes on in its parent's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        if forking.forks():
            raise ForkedProcessError(
                "this process was forked inside its parent's event loop, in which it cannot go on: use queue.sync (or "
                'SyncJobQueue) here, fork outside of the loop, or start processes with multiprocessing\'s "spawn"'
            ) from None
        raise
