"""Which transitions the state machine knows, and who may write them (docs/design/state_machine.md)."""

from __future__ import annotations

import re
from typing import Final

from jobplane.history.record import Transition
from jobplane.job import TERMINAL, TRANSITIONS, JobStatus, may_follow

OF_THE_HOLDER: Final = frozenset(
    {"claim", "renew", "progress", "complete", "fail", "reschedule", "snooze", "release"}
)
GIVES_BACK: Final = frozenset({"snooze", "release"})
"""Verbs that take the attempt back from the count."""
REPEATS: Final = frozenset({"reschedule", "snooze", "retry"})
"""Verbs after which another execution is wanted."""
_SESSION: Final = re.compile(r"jobplane (?:worker|heartbeat) (\d+-[0-9a-f]+)")
_STATUS_STAYS: Final = {
    "renew": JobStatus.RUNNING,
    "progress": JobStatus.RUNNING,
    # of a running job: only asked for, its worker does it
    "cancel": JobStatus.RUNNING,
}


def is_legal(now: Transition) -> bool:
    """Whether the verb leads from this status to that."""
    before, after = now.before, now.after
    if now.verb == "prune":
        return before in TERMINAL and after is None
    if before is None or after is None:
        return now.verb == "enqueue" and before is None and after is JobStatus.PENDING
    if now.verb == "other":
        # Someone with a SQL client: may do what jobplane might have done, but cannot hold a claim.
        return before is after or (after is not JobStatus.RUNNING and may_follow(before, after))
    if before is after and _STATUS_STAYS.get(now.verb) is before:
        # Only a renewal moves the lease.
        return now.verb == "renew" or now.lease_is == now.lease_was
    sources, targets = TRANSITIONS.get(now.verb, (frozenset(), frozenset()))
    # A claim begins with a lease, and nothing else that changes the status leaves one.
    return before in sources and after in targets and (now.verb == "claim") is (now.lease_is is not None)


def is_of_the_holder(now: Transition) -> bool:
    """Whether only the holder of the claim may write this."""
    if now.verb == "cancel":
        # A running job without a lease was adopted from other software: anyone may cancel it.
        ends = now.before is JobStatus.RUNNING and now.after is JobStatus.CANCELLED
        return ends and now.lease_was is not None
    return now.verb in OF_THE_HOLDER


def changes_of_attempts(was: int, now: Transition) -> tuple[int, ...]:
    """By how much the verb may change the count of attempts, which `was` so much before."""
    if now.verb == "claim":
        return (1,)
    given_back = -min(was, 1)
    if now.verb in GIVES_BACK:
        return (given_back,)
    if now.verb == "cancel" and now.before is JobStatus.RUNNING:
        # A stopping worker that hands back a job which someone wants cancelled gives the attempt back as well.
        return (0, given_back)
    if now.verb == "rescue" and now.after is JobStatus.PENDING and was == now.max_attempts > 1:
        # Its worker died while it waited to run alone: its last attempt had not begun (decisions/0026).
        return (-1,)
    return (0,)


def may_be_session_of(worker_id: str, actor: str) -> bool:
    """Whether a session of this name may be the worker's. Poolers may hide the name; then there is nothing to compare."""
    session = _SESSION.match(actor)
    return session is None or session[1] == "-".join(worker_id.split("-")[-2:])
