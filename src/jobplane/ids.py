"""Job ids: UUID version 7 (RFC 9562, section 5.7), so that ids made later sort later.

Time-ordered ids keep new index entries side by side on warm pages.
"""

from __future__ import annotations

import os
import random
import threading
import time
from uuid import NAMESPACE_URL, UUID, uuid5

_random = random.Random(os.urandom(32))  # noqa: S311 - uniqueness, not secrecy; a seeded generator is 10x faster
_lock = threading.Lock()
_last = 0
_VERSION_7 = 7 << 76
_VARIANT = 2 << 62
_IDEMPOTENCY_NAMESPACE = uuid5(NAMESPACE_URL, "jobplane:idempotency-key")


def _reseed() -> None:
    # A forked child would otherwise repeat its parent's random bits.
    _random.seed(os.urandom(32))


os.register_at_fork(after_in_child=_reseed)


def new_job_id() -> UUID:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, a 12-bit sequence, 62 random bits.

    Ids from one process never go backwards: within a millisecond, and when the clock steps back, the
    sequence (RFC 9562, section 6.2, method 1) counts on from the last id.
    """
    global _last  # noqa: PLW0603 - the sequence is a property of the process
    tick = (time.time_ns() // 1_000_000) << 12
    with _lock:
        _last = tick = max(tick, _last + 1)
    return UUID(
        int=(tick >> 12) << 80 | _VERSION_7 | (tick & 0xFFF) << 64 | _VARIANT | _random.getrandbits(62)
    )


def id_from_key(key: str, tenant: str | None = None) -> UUID:
    """The id that stands for an idempotency key: the same key of a tenant always gives the same id (UUIDv5).

    The primary key then makes the second enqueue a no-op; no further column or index is needed.
    """
    namespace = (
        _IDEMPOTENCY_NAMESPACE if tenant is None else uuid5(_IDEMPOTENCY_NAMESPACE, f"tenant:{tenant}")
    )
    return uuid5(namespace, key)
