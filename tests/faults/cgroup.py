"""A control group of the kernel that bounds the memory of the processes in it (version 1 or 2, whichever is mounted)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(megabytes: int) -> Iterator[Sequence[str]]:
    """What to put before a command so that it runs in a new group. Skips the test where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: running out of memory needs root, to make a control group")
    version_1 = (_V1 / "memory.limit_in_bytes").exists()
    group = (_V1 if version_1 else _V2) / f"jobplane-{uuid.uuid4().hex[:8]}"
    limits = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if version_1
        else ("memory.max", "memory.swap.max")
    )
    try:
        group.mkdir()
        (group / limits[0]).write_text(str(megabytes * 1024**2))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(
            f"NOT TESTED: running out of memory, since no memory control group can be made here: {error}"
        )
    # Without it, memory would be swapped out instead; some kernels do not count swap.
    with suppress(OSError):
        (group / limits[1]).write_text(str(megabytes * 1024**2) if version_1 else "0")
    enter = f'echo $$ > {group}/cgroup.procs && exec "$0" "$@"'
    try:
        yield ("/bin/sh", "-c", enter)
    finally:
        # Processes that were killed leave the group a moment later; an empty group that stays costs nothing.
        with suppress(OSError):
            group.rmdir()
