"""Job ids: UUID version 7 (RFC 9562, section 5.7), so that ids made later sort later.

Time-ordered ids keep new index entries side by side on warm pages.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from jobplane import forking

_random = random.Random(os.urandom(32))  # noqa: S311 - uniqueness, not secrecy; a seeded generator is 10x faster
_lock = threading.Lock()
_last = 0
_VERSION_7 = 7 << 76
_NANOSECONDS: Final = 0xFFFFF
"""The bits of a time in nanoseconds below a millisecond."""
_VARIANT = 2 << 62
_IDEMPOTENCY_NAMESPACE = uuid5(NAMESPACE_URL, "jobplane:idempotency-key")


def _begin_afresh() -> None:
    # A forked child would otherwise repeat its parent's random bits, and wait for ever for a lock that another thread
    # of its parent held.
    global _lock  # noqa: PLW0603 - the process's own
    _lock = threading.Lock()
    _random.seed(os.urandom(32))


forking.renew_in_child(_begin_afresh)


def new_job_id() -> UUID:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, a 12-bit sequence, 62 random bits.

    Ids from one process never go backwards: within a millisecond, and when the clock steps back, the
    sequence (RFC 9562, section 6.2, method 1) counts on from the last id.
    """
    global _last  # noqa: PLW0603 - the sequence is a property of the process
    now = time.time_ns()
    tick = (now // 1_000_000) << 12
    with _lock:
        _last = tick = max(tick, _last + 1)
    # Processes that were copied without a word to Python (a fork in C, a snapshot of a machine) go through the same
    # random bits: the nanoseconds tell them apart.
    chance = _random.getrandbits(62) ^ (now & _NANOSECONDS)
    return UUID(int=(tick >> 12) << 80 | _VERSION_7 | (tick & 0xFFF) << 64 | _VARIANT | chance)


def id_from_key(key: str, tenant: str | None = None) -> UUID:
    """The id that stands for an idempotency key: the same key of a tenant always gives the same id (UUIDv5).

    The primary key then makes the second enqueue a no-op; no further column or index is needed.
    """
    namespace = (
        _IDEMPOTENCY_NAMESPACE if tenant is None else uuid5(_IDEMPOTENCY_NAMESPACE, f"tenant:{tenant}")
    )
    return uuid5(namespace, key)
