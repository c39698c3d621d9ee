"""Mistakes that other queues made, planted on purpose: the fault suite must turn red with each of them.

`plant(name)` puts one into this process, before it has read its first statement: a changed text of a statement, or a
wrapped method. Workers of the suite plant what JOBPLANE_TEST_BUG names, and so does the suite's own process. `python
-m tests.faults.bite` shows that each is caught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

import jobplane.sql
from jobplane import failure
from jobplane.job import Claim
from jobplane.outcome import Outcome
from jobplane.sql import Statement, parse
from jobplane.store import database
from jobplane.store.rows import as_uuid
from jobplane.store.store import Store
from jobplane.worker import executor, reporter

FENCE: Final = "job.lease_epoch = CASE job.status WHEN 'running' THEN {}.epoch END"


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake.

    Attributes:
        number: in the list of the promises.
        what: the mistake.
        where: who made it.
        plant: makes it here.
        caught_by: the smallest scenario that must turn red, as pytest names it, below tests/faults.
    """

    number: int
    what: str
    where: str
    plant: Callable[[], None]
    caught_by: str


def plant(name: str) -> None:
    """Make a mistake in this process."""
    BUGS[name].plant()


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

    jobplane.sql.parse = altered
    jobplane.sql.load.cache_clear()


def _complete_without_epoch() -> None:
    _alter("job/complete", (FENCE.format("done"), "job.status = 'running'"))


def _rescue_by_id_only() -> None:
    _alter(
        "job/rescue",
        ("    FOR NO KEY UPDATE SKIP LOCKED\n", ""),
        (
            "        AND job.status = 'running'\n        AND job.lease_expires_at < now()\n    RETURNING",
            "    RETURNING",
        ),
    )


def _epoch_from_attempts() -> None:
    for name in ("job/claim", "job/claim_limited"):
        _alter(name, ("lease_epoch = job.lease_epoch + 1", "lease_epoch = job.attempts + 1"))


def _attempt_counted_at_finish() -> None:
    for name in ("job/claim", "job/claim_limited"):
        _alter(name, ("    attempts = job.attempts + 1,\n", ""))
    _alter(
        "job/complete",
        ("    completed_at = now(),", "    completed_at = now(), attempts = job.attempts + 1,"),
    )
    _alter(
        "job/finish",
        ("GREATEST(job.attempts - verdict.given_back, 0)", "job.attempts + 1 - verdict.given_back"),
    )


def _recovery_raises_max_attempts() -> None:
    _alter(
        "job/rescue",
        ("            WHEN job.attempts >= job.max_attempts THEN 'failed'\n", ""),
        (" OR job.attempts >= job.max_attempts THEN now()", " THEN now()"),
        (
            "        lease_expires_at = NULL\n",
            "        lease_expires_at = NULL, max_attempts = job.max_attempts + 1\n",
        ),
    )


def _heartbeat_by_id_only() -> None:
    _alter("job/renew", (FENCE.format("held"), "job.status = 'running'"))


def _sweeper_discards_unknown_types() -> None:
    known: set[str] = set()
    claim, rescue = Store.claim, Store.rescue

    async def claiming(
        self: Store, queue: str, types: Sequence[str], worker_id: str, lease: timedelta, limit: int
    ) -> list[Claim]:
        known.clear()
        known.update(types)
        return await claim(self, queue, types, worker_id, lease, limit)

    async def discarding(self: Store, limit: int = 500) -> list[tuple[UUID, str]]:
        statement = parse(
            "job/rescue",
            "/* jobplane: job/rescue */ UPDATE {schema}.jobs SET status = 'failed', completed_at = now(), "
            "lease_expires_at = NULL, last_error = 'no such type' WHERE status = 'running' "
            "AND lease_expires_at < now() AND type <> ALL (:known::text[]) RETURNING id, queue",
            self.database.settings.schema,
        )
        rows = await self.database.fetch(statement, {"known": sorted(known)})
        return [(as_uuid(row["id"]), row["queue"]) for row in rows] + await rescue(self, limit)

    Store.claim = claiming  # type: ignore[method-assign]
    Store.rescue = discarding  # type: ignore[method-assign]


def _raw_error_text() -> None:
    def raw(text: str, limit: int = 0) -> str:
        return text

    for module in (failure, executor, reporter):
        module.storable = raw  # type: ignore[attr-defined]


def _claim_in_subselect() -> None:
    _alter("job/claim", ("job.id = ANY (ARRAY(", "job.id IN ("), ("SKIP LOCKED\n))", "SKIP LOCKED\n)"))
    # A plan that runs the subselect again for each row is the planner's to choose; statistics of a busy day make it.
    database.WORKER_SESSION += "; SET enable_hashagg = off; SET enable_material = off"  # type: ignore[misc]


def _cron_without_unique_tick() -> None:
    _alter(
        "schedule/tick",
        (
            "    INSERT INTO {schema}.schedule_ticks (schedule, tick, job_id, made_at)\n"
            "    SELECT s.name, wanted.tick, wanted.job_id, now()\n",
            "    SELECT s.name AS schedule, wanted.tick, wanted.job_id\n",
        ),
        (" AND s.last_tick = wanted.last_tick\n    WHERE", "\n    WHERE"),
        ("    ON CONFLICT (schedule, tick) DO NOTHING\n    RETURNING schedule, tick, job_id\n", ""),
    )


def _reclaim_refused_by_the_limit() -> None:
    _alter(
        "job/rescue",
        (
            "    WHERE job.status = 'running' AND job.lease_expires_at < now()\n    LIMIT",
            "    WHERE job.status = 'running' AND job.lease_expires_at < now()\n"
            "        AND NOT EXISTS (SELECT FROM {schema}.queues AS q WHERE q.name = job.queue AND q.max_running <= (\n"
            "            SELECT count(*) FROM {schema}.jobs AS busy WHERE busy.queue = q.name AND busy.status = 'running'))\n"
            "    LIMIT",
        ),
    )


def _unique_job_in_its_own_way() -> None:
    _alter(
        "job/finish",
        (
            "    WHERE job.id = verdict.id\n",
            "    WHERE job.id = verdict.id\n"
            "        AND (verdict.status <> 'pending' OR job.unique_key IS NULL OR NOT EXISTS (\n"
            "            SELECT FROM {schema}.jobs AS other\n"
            "            WHERE other.unique_key = job.unique_key AND other.status IN ('pending', 'running')))\n",
        ),
    )


def _listener_not_subscribed_again() -> None:
    listen = asyncpg.Connection.add_listener
    times = 0

    async def once(self: object, channel: str, callback: object) -> None:
        nonlocal times
        times += 1
        if times == 1:
            await listen(self, channel, callback)  # type: ignore[arg-type]

    asyncpg.Connection.add_listener = once  # type: ignore[method-assign,assignment]


def _outcome_dropped_after_a_failed_write() -> None:
    def forgetful(self: reporter.Inbox, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        """Keeps what could not be written among the held claims, which are renewed, and nowhere else."""

    reporter.Inbox.put_back = forgetful  # type: ignore[method-assign]


_FENCING: Final = "test_fencing.py::test_"
_ALL: Final = (
    Bug(
        1,
        "complete without the epoch",
        "oban-py, pgqueuer",
        _complete_without_epoch,
        f"{_FENCING}f3_writes_under_an_old_epoch_are_refused",
    ),
    Bug(
        2,
        "rescue by id only",
        "riverqueue/river#1302",
        _rescue_by_id_only,
        f"{_FENCING}f3_a_renewal_under_way_wins_against_the_rescue",
    ),
    Bug(
        3,
        "epoch made from the attempts",
        "wavect/semaprax#192",
        _epoch_from_attempts,
        f"{_FENCING}f2_every_claim_has_an_epoch_of_its_own",
    ),
    Bug(
        4,
        "attempt counted when it ends",
        "procrastinate",
        _attempt_counted_at_finish,
        f"{_FENCING}f19_a_job_whose_workers_die_runs_out_of_attempts",
    ),
    Bug(
        5,
        "recovery raises max_attempts",
        "chancy",
        _recovery_raises_max_attempts,
        f"{_FENCING}f19_a_job_whose_workers_die_runs_out_of_attempts",
    ),
    Bug(
        6,
        "heartbeat by id only",
        "pgqueuer",
        _heartbeat_by_id_only,
        f"{_FENCING}f3_writes_under_an_old_epoch_are_refused",
    ),
    Bug(
        7,
        "sweeper discards unknown types",
        "riverqueue/river#1105",
        _sweeper_discards_unknown_types,
        f"{_FENCING}f22_a_sweeper_of_an_older_release_leaves_new_types_alone",
    ),
    Bug(
        8,
        "raw error text stored",
        "delayed_job#790",
        _raw_error_text,
        f"{_FENCING}f21_errors_that_no_database_stores_are_recorded_all_the_same",
    ),
    Bug(
        9,
        "claim by IN (SELECT .. LIMIT .. SKIP LOCKED)",
        "PostgreSQL BUG #15715",
        _claim_in_subselect,
        f"{_FENCING}f1_a_claim_takes_no_more_than_it_asked_for",
    ),
    Bug(
        10,
        "cron without a unique tick",
        "rails/solid_queue e43f204",
        _cron_without_unique_tick,
        f"{_FENCING}f23_two_schedulers_make_a_tick_once",
    ),
    Bug(
        11,
        "reclaim refused by the limit",
        "pgqueuer#475",
        _reclaim_refused_by_the_limit,
        f"{_FENCING}f25_a_lost_job_gives_its_place_under_the_limit_back",
    ),
    Bug(
        12,
        "unique job in its own way on retry",
        "River 0.12.0",
        _unique_job_in_its_own_way,
        f"{_FENCING}f24_a_job_with_a_unique_key_is_retried",
    ),
    Bug(
        13,
        "listener not subscribed again",
        "good_job#303",
        _listener_not_subscribed_again,
        "test_connections.py::test_f7_a_listener_that_was_cut_off_listens_again",
    ),
    Bug(
        14,
        "outcome dropped, lease renewed",
        "rails/solid_queue#748",
        _outcome_dropped_after_a_failed_write,
        "test_connections.py::test_f7_an_outcome_that_could_not_be_stored_is_stored_later",
    ),
)
BUGS: Final = {str(bug.number): bug for bug in _ALL}
