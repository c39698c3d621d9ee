"""Handlers that fork. What the child does after that is the point of the tests."""

from __future__ import annotations

import asyncio
import os
import signal
import warnings

from jobplane import Registry, task


def fork() -> int:
    """os.fork, which newer Pythons warn of where threads run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@task
async def fork_and_return() -> None:
    """The child comes back to the event loop."""
    if pid := fork():
        await asyncio.to_thread(os.waitpid, pid, 0)


@task
def fork_and_stop_the_child() -> int:
    """The child waits for a signal; answers what ended it."""
    read, write = os.pipe()
    pid = fork()
    if pid == 0:
        os.write(write, b"there")
        signal.pause()
    os.read(read, 5)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@task
def fork_in_thread() -> None:
    """The child comes back from the handler."""
    if pid := fork():
        os.waitpid(pid, 0)


@task
async def after() -> None:
    """Shows that the worker goes on."""


forks = Registry([fork_and_return, fork_and_stop_the_child, fork_in_thread, after])
