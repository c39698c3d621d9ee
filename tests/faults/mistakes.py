"""The mistakes themselves: each function changes the text of a statement, or wraps a method, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

import jobplane.sql
from jobplane import failure
from jobplane.job import Claim
from jobplane.outcome import Outcome
from jobplane.sql import Statement, parse
from jobplane.store import session
from jobplane.store.rows import as_uuid
from jobplane.store.store import Store
from jobplane.worker import executor, reporter

CLAIMS: Final = ("job/claim", "job/claim_onward", "job/claim_limited")
NEXT_EPOCH: Final = """lease_epoch = CASE job.lease_epoch
        WHEN 0 THEN COALESCE((SELECT e.spent FROM {schema}.epochs AS e WHERE e.only_row), 0)
        ELSE job.lease_epoch
    END + 1"""
FENCE: Final = "job.lease_epoch = CASE job.status WHEN 'running' THEN {} END"


def _alter(name: str, *changes: tuple[str, str]) -> None:
    """Change the text of a statement wherever it is read from now on. What is to be changed must be there."""
    read = jobplane.sql.parse

    def altered(asked: str, text: str, schema: str, clock: str = "now()") -> Statement:
        if asked == name:
            for old, new in changes:
                assert old in text, (
                    f"{name} does not contain {old!r} any more: bring tests/faults/bugs.py up to date"
                )
                text = text.replace(old, new)
        return read(asked, text, schema, clock)

    jobplane.sql.parse = altered  # type: ignore[assignment]
    jobplane.sql.load.cache_clear()


def complete_without_epoch() -> None:
    """The worker that lost a job may complete it."""
    _alter("job/complete", (FENCE.format("done.epoch"), "job.status = 'running'"))
    _alter("job/complete_epoch", (FENCE.format(":epoch::bigint"), "job.status = 'running'"))


def rescue_by_id_only() -> None:
    """The sweeper selects, then updates by id, whatever happened in between."""
    _alter(
        "job/rescue",
        ("    FOR NO KEY UPDATE SKIP LOCKED\n", ""),
        (
            "        AND job.lease_expires_at < CASE job.status WHEN 'running' THEN now() END\n    RETURNING",
            "    RETURNING",
        ),
    )


def epoch_from_attempts() -> None:
    """The fence goes back when an attempt is given back."""
    for name in ("job/claim", "job/claim_limited"):
        _alter(name, (NEXT_EPOCH, "lease_epoch = job.attempts + 1"))


def attempt_counted_at_finish() -> None:
    """A job that kills its worker never runs out of attempts."""
    for name in ("job/claim", "job/claim_limited"):
        _alter(name, ("    attempts = job.attempts + 1,\n", ""))
    for name in ("job/complete", "job/complete_epoch"):
        _alter(name, ("    completed_at = now(),", "    completed_at = now(), attempts = job.attempts + 1,"))
    _alter(
        "job/finish",
        ("GREATEST(job.attempts - verdict.given_back, 0)", "job.attempts + 1 - verdict.given_back"),
    )


def recovery_raises_max_attempts() -> None:
    """As the one before, with a better conscience."""
    _alter(
        "job/rescue",
        ("            WHEN was_last AND (was_alone OR earlier_crashes = 0) THEN 'failed'\n", ""),
        ("THEN 1 ELSE 0 END AS given_back", "THEN 0 ELSE 0 END AS given_back"),
        (
            "        lease_expires_at = NULL\n",
            "        lease_expires_at = NULL, max_attempts = job.max_attempts + 1\n",
        ),
    )


def rescue_gives_an_attempt_back() -> None:
    """A last attempt that ended with its worker does not count: somebody else may have been to blame."""
    _alter(
        "job/rescue",
        ("            WHEN was_last AND (was_alone OR earlier_crashes = 0) THEN 'failed'\n", ""),
        ("WHEN was_last AND NOT was_alone AND earlier_crashes > 0 THEN 1", "WHEN was_last THEN 1"),
    )


def heartbeat_by_id_only() -> None:
    """The worker that lost a job renews the lease of who has it now."""
    _alter("job/renew", (FENCE.format("held.epoch"), "job.status = 'running'"))


def sweeper_discards_unknown_types() -> None:
    """A worker of an older release fails the jobs of the new types."""
    known: set[str] = set()
    claim, rescue = Store.claim, Store.rescue

    async def claiming(
        self: Store,
        queue: str,
        types: Sequence[str],
        worker_id: str,
        lease: timedelta,
        limit: int,
        *,
        beyond: Sequence[tuple[int, tuple[datetime, UUID]]] = (),
    ) -> list[Claim]:
        known.clear()
        known.update(types)
        return await claim(self, queue, types, worker_id, lease, limit, beyond=beyond)

    async def discarding(self: Store, limit: int = 500, crash_limit: int = 3) -> list[tuple[UUID, str]]:
        statement = parse(
            "job/rescue",
            "/* jobplane: job/rescue */ UPDATE {schema}.jobs SET status = 'failed', completed_at = now(), "
            "lease_expires_at = NULL, last_error = 'no such type' WHERE status = 'running' "
            "AND lease_expires_at < now() AND type <> ALL (:known::text[]) RETURNING id, queue",
            self.database.settings.schema,
        )
        rows = await self.database.fetch(statement, {"known": sorted(known)})
        return [(as_uuid(row["id"]), row["queue"]) for row in rows] + await rescue(self, limit, crash_limit)

    Store.claim = claiming  # type: ignore[method-assign]
    Store.rescue = discarding  # type: ignore[method-assign]


def raw_error_text() -> None:
    """The outcome with what the handler raised cannot be stored."""

    def raw(text: str, limit: int = 0) -> str:
        return text

    for module in (failure, executor, reporter):
        module.storable = raw  # type: ignore[attr-defined]


def claim_in_subselect() -> None:
    """The planner may run the subselect for each row: more is claimed than was asked for."""
    _alter("job/claim", ("job.id = ANY (ARRAY(", "job.id IN ("), ("SKIP LOCKED\n))", "SKIP LOCKED\n)"))
    # A plan that runs the subselect again for each row is the planner's to choose; statistics of a busy day make it.
    session.WORKER_SESSION = session.WORKER_SESSION.but(  # type: ignore[misc]
        enable_hashagg="off", enable_material="off"
    )


def cron_without_unique_tick() -> None:
    """Each of two schedulers makes the tick."""
    _alter(
        "schedule/tick",
        (
            (
                "    INSERT INTO {schema}.schedule_ticks (schedule, tick, job_id, made_at)\n"
                "    SELECT s.name, wanted.tick, wanted.job_id, now()\n"
            ),
            "    SELECT s.name AS schedule, wanted.tick, wanted.job_id\n",
        ),
        (" AND s.last_tick = wanted.last_tick\n    WHERE", "\n    WHERE"),
        ("    ON CONFLICT (schedule, tick) DO NOTHING\n    RETURNING schedule, tick, job_id\n", ""),
    )


def reclaim_refused_by_the_limit() -> None:
    """A lost job keeps its place under the limit, so nobody may take it back."""
    _alter(
        "job/rescue",
        (
            "    WHERE job.status = 'running' AND job.lease_expires_at < now()\n    LIMIT",
            (
                "    WHERE job.status = 'running' AND job.lease_expires_at < now()\n"
                "        AND NOT EXISTS (SELECT FROM {schema}.queues AS q WHERE q.name = job.queue AND q.max_running <= (\n"
                "            SELECT count(*) FROM {schema}.jobs AS busy WHERE busy.queue = q.name AND busy.status = 'running'))\n"
                "    LIMIT"
            ),
        ),
    )


def unique_job_in_its_own_way() -> None:
    """Its own row counts as another job with its key when it is to be retried."""
    _alter(
        "job/finish",
        (
            "    WHERE job.id = verdict.id\n",
            (
                "    WHERE job.id = verdict.id\n"
                "        AND (verdict.status <> 'pending' OR job.unique_key IS NULL OR NOT EXISTS (\n"
                "            SELECT FROM {schema}.jobs AS other\n"
                "            WHERE other.unique_key = job.unique_key AND other.status IN ('pending', 'running')))\n"
            ),
        ),
    )


def listener_not_subscribed_again() -> None:
    """A connection that was made anew does not LISTEN."""
    listen = asyncpg.Connection.add_listener
    times = 0

    async def once(self: object, channel: str, callback: object) -> None:
        nonlocal times
        times += 1
        if times == 1:
            await listen(self, channel, callback)  # type: ignore[arg-type]

    asyncpg.Connection.add_listener = once  # type: ignore[method-assign]


def outcome_dropped_after_a_failed_write() -> None:
    """Nobody writes it any more, and the lease is renewed for ever."""

    def forgetful(self: reporter.Inbox, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        """Keeps what could not be written among the held claims, which are renewed, and nowhere else."""

    reporter.Inbox.put_back = forgetful  # type: ignore[method-assign]


def fence_starts_again() -> None:
    """An id that comes back after its job was pruned is claimed under the epochs of its first life."""
    for name in CLAIMS:
        _alter(name, (NEXT_EPOCH, "lease_epoch = job.lease_epoch + 1"))
