"""Processor time and memory of processes, as /proc tells of them. Where there is none, everything is 0."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")


def processor_seconds(roots: Iterable[int], *, without: int = 0) -> float:
    """User and system time of these processes, of all below them, and of the children that they have outlived.

    Sums as long as the roots live: a child that ends moves from the living to its parent's account.
    """
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for process, parent, used in _processes():
        ticks[process] = used
        children[parent].append(process)
    total, todo = 0, list(roots)
    while todo:
        process = todo.pop()
        total += ticks.get(process, 0) if process != without else 0
        todo.extend(children[process])
    return total / os.sysconf("SC_CLK_TCK")


def peak_memory(process: int) -> float:
    """The largest resident size so far, in MB."""
    return _size(process, "VmHWM:")


def memory(process: int) -> float:
    """The resident size now, in MB."""
    return _size(process, "VmRSS:")


def _size(process: int, field: str) -> float:
    try:
        status = (PROC / str(process) / "status").read_text()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith(field)]
    return int(sizes[0]) / 1024 if sizes else 0.0


def _processes() -> Iterator[tuple[int, int, int]]:
    if not PROC.is_dir():
        return
    for folder in PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        # The name in parentheses may hold anything; behind it: state, parent, ..., and four times from the 12th on.
        fields = text.rpartition(")")[2].split()
        yield int(folder.name), int(fields[1]), sum(map(int, fields[11:15]))
