"""What a claimer knows of its queue's limit, and how it claims under one.

Limits are rare, so a queue counts as unlimited until a claim comes back empty (a plain claim leaves queues with a
limit alone) or a notification says otherwise. A job's slot is free once its outcome is written, not before; the
worker that wrote it looks first, and wakes the others when it cannot use the slot itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from jobplane.job import Claim
from jobplane.store.store import Store
from jobplane.worker.service import jittered

CROWDED: Final = 0.02
"""Seconds before the next try when others kept the queue's lock too long."""


class QueueLimit:
    """Claims of one queue under its limit, while it has one."""

    def __init__(
        self,
        queue: str,
        types: Sequence[str],
        worker_id: str,
        lease: timedelta,
        ask_every: float,
        store: Store,
    ) -> None:
        self.known = False
        """Whether the queue has a limit, as far as this worker knows."""
        self.again: float | None = None
        """Seconds after which the last claim wants to be repeated; None: when something happens."""
        self._queue = queue
        self._types = types
        self._worker_id = worker_id
        self._lease = lease
        self._ask_every = ask_every
        self._store = store
        self._asked_at = -math.inf
        self._freed = 0

    @property
    def worth_asking(self) -> bool:
        """Whether an empty claim should ask for a limit: not after each of them, as idle workers have many."""
        return time.monotonic() >= self._asked_at + self._ask_every

    def changed(self) -> None:
        """Someone set the limit, or may have while we could not hear it."""
        self._asked_at = -math.inf

    def freed(self, count: int) -> None:
        """The outcomes of so many of our jobs are written."""
        self._freed += count

    async def claim(self, most: int) -> list[Claim]:
        """Up to `most` due jobs, as far as the limit goes; none where there is no limit (any more)."""
        freed, self._freed = self._freed, 0
        self._asked_at = time.monotonic()
        limited = self._store.limited
        room = await limited.room(self._queue, self._types)
        if room is None:
            self.again = 0.0 if self.known else None  # it was lifted: now a plain claim finds what waits
            self.known = False
            return []
        self.known = True
        free = room.max_running - room.running
        claims: list[Claim] | None = []
        if free > 0 and most > 0 and room.waiting:
            claims = await limited.claim(self._queue, self._types, self._worker_id, self._lease, most)
        if claims is None:
            self._freed += freed
            self.again = jittered(CROWDED)
            return []
        # The queue was full until our jobs ended: others may have been turned away.
        if freed > 0 and room.running + freed >= room.max_running and free > len(claims):
            await self._store.notify(self._queue)
        return claims
