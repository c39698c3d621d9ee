"""What the machine draws from: workers, jobs, outcomes, and steps of time around the moments that matter."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hypothesis import strategies as st

from jobplane.failure import ErrorReport
from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed

LEASE: Final = timedelta(seconds=30)
WORKERS: Final = ("w0", "w1", "w2")
KNOWN: Final = {"w0": ["a", "b"], "w1": ["a", "b"], "w2": ["a"]}
QUEUES: Final = ("default", "default", "default", "mail")
ERROR: Final = ErrorReport("ValueError", "no", ("a.py:1 f",))
# Around the lease and the delays below: just before, at the moment itself, just after, long after.
TICKS: Final = (1, 10, 19, 20, 29, 30, 31, 60, 600)
REMEMBERED: Final = 12
"""Tokens that a worker keeps; the oldest go first."""
COLUMNS: Final = (
    "id, type, queue, priority, max_attempts, scheduled_at, unique_key, status, attempts, lease_epoch, "
    "lease_expires_at, worker_id, started_at, completed_at, cancel_requested_at, last_error, "
    "result::text AS result, progress::text AS progress, isolated_epoch, attempts_at_retry"
)
ATTEMPTS: Final = "job_id, epoch, attempt, outcome, error_type, message, worker_id, started_at"

workers = st.sampled_from(WORKERS)
holders = st.integers(0, len(WORKERS) - 1)
queues = st.sampled_from(QUEUES)
picks = st.integers(0, REMEMBERED - 1)
batches = st.lists(picks, min_size=1, max_size=4, unique=True)
jobs = st.integers(0, 7)
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Completed(),
        Completed('{"n": 1}'),
        Failed(ERROR),
        Failed(ERROR, "timeout"),
        Rescheduled(ERROR, timedelta(0)),
        Rescheduled(ERROR, timedelta(seconds=20)),
        Snoozed(timedelta(seconds=20)),
        Cancelled(ERROR),
        Released(),
        Released(ERROR),
    ]
)
wishes = st.fixed_dictionaries(
    {
        "type": st.sampled_from("ab"),
        "queue": st.sampled_from(QUEUES),
        "priority": st.sampled_from((0, 0, 5)),
        "max_attempts": st.sampled_from((3, 2, 1)),
        "delay": st.sampled_from((0, 0, 20)),
        "unique_key": st.sampled_from((None, None, None, "k1", "k2")),
        "idempotency_key": st.sampled_from((None, None, None, None, "i1", "i2")),
    }
)
