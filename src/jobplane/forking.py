"""What a process must not share with the children that it forks, and how they begin afresh.

A forked child inherits its parent's memory and open descriptors, but none of its threads. Two processes that speak on
one connection to the server read each other's answers, a lock that another thread held is never released, and a
destructor that closes a connection politely ends it for the parent. So in the child, before any of its code runs:

1. The parent's sockets (`guard`) are replaced by one whose other end is closed. Whatever the child does with an
   object that it inherited, also at garbage collection and at its exit, cannot reach the server, and a parent that is
   killed leaves no session behind that a child keeps open.
2. Whoever holds connections, locks or threads is called (`renew_in_child`), and drops them without closing them
   (`keep`).

Python calls us after os.fork and what is built on it. A program that forks in C without telling Python, as uWSGI does
by default, is noticed by the process id when a client is next used (`check_process`).
"""

from __future__ import annotations

import inspect
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack

_pid = os.getpid()
_forks = 0
_sockets: dict[int, tuple[int, int]] = {}
_methods: weakref.WeakKeyDictionary[object, Callable[[object], None]] = weakref.WeakKeyDictionary()
"""By object. Not WeakMethods, whose callbacks complain when the interpreter ends."""
_functions: list[Callable[[], None]] = []
_kept: list[object] = []
_noticing: dict[int, threading.Lock] = {}


def renew_in_child(renew: Callable[[], None]) -> None:
    """Call a bound method in each forked child while its object lives (which this does not prolong), or a function.

    An object has one such method at most. It runs before any other code of the child, and must neither wait for a lock nor
    close what the parent uses.
    """
    if inspect.ismethod(renew):
        _methods[renew.__self__] = renew.__func__
    else:
        _functions.append(renew)


def keep(inherited: object) -> None:
    """Hold what the parent owns for as long as this process lives, so that no destructor of it runs before its end."""
    _kept.append(inherited)


def guard(descriptor: int) -> None:
    """Take a socket, an open file descriptor, away from all children that are forked from now on."""
    # Nobody says when it is closed: what has another identity by then is another file, and none of ours.
    found = os.fstat(descriptor)
    _sockets[descriptor] = (found.st_dev, found.st_ino)


def sever(descriptors: Iterable[int]) -> None:
    """Make descriptors of this process a socket whose other end is closed, whatever they were.

    Unlike closing them, this frees no number for another file that a stale object would then write to.
    """
    dead, other = socket.socketpair()
    other.close()
    with dead:
        for descriptor in descriptors:
            os.dup2(dead.fileno(), descriptor, inheritable=False)


def forks() -> int:
    """How many forks lie between this process and the one that imported jobplane."""
    check_process()
    return _forks


def check_process() -> None:
    """Begin afresh if this is a forked child that Python was not told of. Costs a call of getpid."""
    if os.getpid() != _pid:
        # One thread renews, and the others wait for it: a lock of this process, since the parent may hold an older one.
        with _noticing.setdefault(os.getpid(), threading.Lock()):
            if os.getpid() != _pid:
                _begin_afresh()


def _begin_afresh() -> None:
    global _pid, _forks  # noqa: PLW0603 - they are the process's own
    _forks += 1
    sockets = [descriptor for descriptor, identity in _sockets.items() if _is(descriptor, identity)]
    _sockets.clear()
    try:
        with ExitStack() as all_of_them:  # also those after one that fails
            for function in _functions:
                all_of_them.callback(function)
            for owner, method in list(_methods.items()):
                all_of_them.callback(method, owner)
            all_of_them.callback(sever, sockets)  # the last callback is called first
    finally:
        _pid = os.getpid()


def _is(descriptor: int, identity: tuple[int, int]) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == identity


os.register_at_fork(after_in_child=_begin_afresh)
