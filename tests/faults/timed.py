"""Targets of a worker that writes down how long its claims take, in seconds, one a line, to JOBPLANE_TEST_TIMES."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from jobplane.job import Claim
from jobplane.store.store import Store
from tests.faults.handlers import work

__all__ = ["work"]
_FILE: Final = Path(os.environ.get("JOBPLANE_TEST_TIMES", os.devnull))
_claim = Store.claim


async def _timed_claim(
    self: Store,
    queue: str,
    types: Sequence[str],
    worker_id: str,
    lease: timedelta,
    limit: int,
    *,
    beyond: Sequence[tuple[int, tuple[datetime, UUID]]] = (),
) -> list[Claim]:
    began = time.perf_counter()
    try:
        return await _claim(self, queue, types, worker_id, lease, limit, beyond=beyond)
    finally:
        line = f"{time.perf_counter() - began} {'onward' if beyond else 'whole'}\n"
        handle = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


Store.claim = _timed_claim  # type: ignore[method-assign] # to look at it from inside of the worker's process
