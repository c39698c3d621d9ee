"""What three workers, a client and an operator may do, in any order, with tokens however old.

Each rule acts on the model and on the real statements; after every step the rows of both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobplane.client import inserts, ops
from jobplane.errors import JobplaneError
from jobplane.ids import id_from_key
from jobplane.job import Claim, NewJob
from jobplane.outcome import Failed, Outcome, Released, Rescheduled
from jobplane.settings import WorkerSettings
from tests.models.ground import EMPTY, START, Loop, Session
from tests.models.moves import (
    ATTEMPTS,
    COLUMNS,
    KNOWN,
    LEASE,
    REMEMBERED,
    TICKS,
    WORKERS,
    batches,
    holders,
    jobs,
    outcomes,
    picks,
    queues,
    wishes,
    workers,
)
from tests.models.queue_model import AttemptRow, QueueModel, Row, Token


class QueueMachine(RuleBasedStateMachine):
    """The rules. One instance is one history, on an empty queue."""

    def __init__(self, session: Session, loop: Loop) -> None:
        super().__init__()
        self.session, self.loop = session, loop
        self.store = session.store
        self.model = QueueModel(START)
        self.made: list[UUID] = []
        self.held: dict[str, list[tuple[Token, Claim]]] = {worker: [] for worker in WORKERS}
        self.epochs: dict[UUID, int] = {}
        """The highest epoch that an id ever had, in whichever of its lives."""
        loop(session.connection.execute(EMPTY))
        loop(session.set_time(START))

    # -- time ----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(TICKS))
    def time_passes(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)
        self.loop(self.session.set_time(self.model.now))

    @precondition(lambda self: self._count("running"))
    @rule()
    def leases_run_out(self) -> None:
        self.time_passes(31)

    # -- the client ----------------------------------------------------------------------------------

    @initialize(wanted=st.lists(wishes, min_size=3, max_size=6))
    def some_jobs_are_there(self, wanted: list[dict[str, object]]) -> None:
        self._enqueue(wanted)

    @rule(wanted=st.lists(wishes, min_size=1, max_size=3))
    def enqueue(self, wanted: list[dict[str, object]]) -> None:
        self._enqueue(wanted)

    def _enqueue(self, wanted: list[dict[str, object]]) -> None:
        wished = [self._wish(wish) for wish in wanted]

        results = self.loop(self.session.perform(inserts.insert([job for job, _ in wished])))

        expected = [self.model.enqueue(row) for _, row in wished]
        assert [(result.id, result.existing) for result in results] == expected
        self.made += [job_id for job_id, existing in expected if not existing]

    @precondition(lambda self: self._count("running"))
    @rule(pick=jobs)
    def cancel(self, pick: int) -> None:
        job_id = self._job(pick)

        answer = self.loop(self._answered(self.session.perform(ops.cancel(job_id))))

        assert answer == self.model.cancel(job_id)

    @precondition(lambda self: self._ended())
    @rule(pick=jobs, extra=st.sampled_from((0, 0, 1)))
    def retry(self, pick: int, extra: int) -> None:
        job_id = self._job(pick)

        answer = self.loop(self._answered(self.session.perform(ops.retry(job_id, extra))))

        assert answer == self.model.retry(job_id, extra)

    # -- workers -------------------------------------------------------------------------------------

    @precondition(lambda self: self._count("pending"))
    @rule(worker=workers)
    def claim_one(self, worker: str) -> None:
        self._claim(worker, "default", 1)

    @rule(worker=workers, queue=queues, limit=st.integers(0, 3))
    def claim_some(self, worker: str, queue: str, limit: int) -> None:
        self._claim(worker, queue, limit)

    def _claim(self, worker: str, queue: str, limit: int) -> None:
        claims = self.loop(self.store.claim(queue, KNOWN[worker], worker, LEASE, limit))

        tokens = self.model.claim(queue, KNOWN[worker], worker, LEASE, limit)
        assert all(token.epoch > self.epochs.get(token.id, 0) for token in tokens), "I5: no epoch comes twice"
        assert [
            Token(UUID(int=claim.id.int), claim.epoch, worker, claim.attempt, claim.max_attempts)
            for claim in claims
        ] == tokens
        self.held[worker] = (self.held[worker] + list(zip(tokens, claims, strict=True)))[-REMEMBERED:]

    @precondition(lambda self: any(self.held.values()))
    @rule(holder=holders, batch=batches)
    def heartbeat(self, holder: int, batch: list[int]) -> None:
        chosen = self._held(holder, batch)

        reports = self.loop(self.store.renew([claim for _, claim in chosen], LEASE))

        expected = self.model.renew([token for token, _ in chosen], LEASE)
        assert {(report.id, report.epoch, report.ours, report.cancel_requested) for report in reports} == {
            (*key, ours, wanted) for *key, ours, wanted in expected
        }
        assert all(report.renewed is report.ours for report in reports)

    @precondition(lambda self: any(self.held.values()))
    @rule(holder=holders, batch=batches)
    def complete(self, holder: int, batch: list[int]) -> None:
        chosen = self._held(holder, batch)

        ours = self.loop(self.store.complete([claim for _, claim in chosen]))

        assert ours == self.model.complete([token for token, _ in chosen])

    @precondition(lambda self: any(self.held.values()))
    @rule(holder=holders, batch=st.lists(st.tuples(picks, outcomes), min_size=1, max_size=4))
    def finish(self, holder: int, batch: list[tuple[int, Outcome]]) -> None:
        chosen = self._held(holder, [pick for pick, _ in batch])
        ended = [
            (token, claim, _allowed(token, outcome))
            for (token, claim), (_, outcome) in zip(chosen, batch, strict=False)
        ]

        ours = self.loop(self.store.finish([(claim, outcome) for _, claim, outcome in ended]))

        assert ours == self.model.finish([(token, outcome) for token, _, outcome in ended])

    @precondition(lambda self: any(self.held.values()))
    @rule(holder=holders, pick=picks, percent=st.integers(0, 2))
    def progress(self, holder: int, pick: int, percent: int) -> None:
        for token, claim in self._held(holder, [pick]):
            locked = self.loop(self.store.progress([(claim, str(percent))]))
            assert locked == set()
            self.model.report(token, str(percent))

    @precondition(lambda self: any(self.held.values()))
    @rule(holder=holders, pick=picks)
    def isolate(self, holder: int, pick: int) -> None:
        for token, claim in self._held(holder, [pick]):
            assert self.loop(self.store.isolate(claim)) is self.model.isolate(token)

    @rule(what=st.sampled_from(("pause", "resume", "resume", "crash")), worker=workers, queue=queues)
    def something_rare(self, what: str, worker: str, queue: str) -> None:
        match what:
            case "pause":
                self.loop(self.session.perform(ops.pause_queue(queue)))
                self.model.paused.add(queue)
            case "resume":
                self.loop(self.session.perform(ops.resume_queue(queue)))
                self.model.paused.discard(queue)
            case _:
                self.held[worker].clear()

    # -- maintenance ---------------------------------------------------------------------------------

    @precondition(lambda self: self._count("running"))
    @rule(limit=st.sampled_from((1, 2, 500)))
    def rescue(self, limit: int) -> None:
        rescued = dict(self.loop(self.store.rescue(limit)))

        expired = self.model.expired()
        assert rescued.keys() <= expired
        assert len(rescued) == min(limit, len(expired))  # which ones, nobody promises
        assert all(self.model.rows[job_id].queue == queue for job_id, queue in rescued.items())
        self.model.rescue(rescued)

    @precondition(lambda self: self._ended())
    @rule(
        seconds=st.tuples(*[st.sampled_from((0, 30, 300))] * 3),
        limit=st.sampled_from((1, 500)),
    )
    def prune(self, seconds: tuple[int, int, int], limit: int) -> None:
        completed, failed, cancelled = (timedelta(seconds=number) for number in seconds)
        settings = WorkerSettings(keep_completed=completed, keep_failed=failed, keep_cancelled=cancelled)

        pruned = {UUID(str(job_id)) for job_id in self.loop(self.store.pruned(settings, limit))}

        prunable = self.model.prunable({"completed": completed, "failed": failed, "cancelled": cancelled})
        assert pruned <= prunable
        assert len(pruned) == min(limit, len(prunable))
        self.model.prune(pruned)

    @precondition(lambda self: self._count("running"))
    @rule()
    def holders_are_lost(self) -> None:
        self.time_passes(31)
        self.rescue(500)

    # -- what holds after every step -----------------------------------------------------------------

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        fetch = self.session.connection.fetch
        rows = self.loop(fetch(f"SELECT {COLUMNS} FROM control_plane.jobs"))
        attempts = self.loop(fetch(f"SELECT {ATTEMPTS} FROM control_plane.job_attempts"))

        assert {UUID(int=row["id"].int): Row(**dict(row)) for row in rows} == self.model.rows
        assert {AttemptRow(**dict(row)) for row in attempts} == self.model.attempts

    @invariant()
    def the_promises_hold(self) -> None:
        rows = self.model.rows.values()
        assert len(rows) + self.model.pruned == self.model.enqueued, "I20"
        for row in rows:
            assert 0 <= row.attempts <= row.max_attempts, "I6"
            # A job that was pruned and enqueued once more has epoch 0 until its first claim.
            assert row.lease_epoch == 0 or row.lease_epoch >= self.epochs.get(row.id, 0), "I5"
            assert row.unique_key is None or len(self.model.holders(row.unique_key)) <= 1, "I15"
            self.epochs[row.id] = max(row.lease_epoch, self.epochs.get(row.id, 0))

    # -- inside --------------------------------------------------------------------------------------

    def _wish(self, wish: dict[str, object]) -> tuple[NewJob, Row]:
        key = wish["idempotency_key"]
        self._number = getattr(self, "_number", 0) + 1
        job = NewJob(
            id=id_from_key(str(key)) if key else UUID(int=self._number),
            type=str(wish["type"]),
            payload="{}",
            queue=str(wish["queue"]),
            priority=int(str(wish["priority"])),
            max_attempts=int(str(wish["max_attempts"])),
            delay=timedelta(seconds=int(str(wish["delay"]))),
            unique_key=str(wish["unique_key"]) if wish["unique_key"] else None,
        )
        due = self.model.now + job.delay
        return job, Row(job.id, job.type, job.queue, job.priority, job.max_attempts, due, job.unique_key)

    def _ended(self) -> bool:
        return any(row.has_ended for row in self.model.rows.values())

    def _count(self, status: str) -> int:
        return sum(row.status == status for row in self.model.rows.values())

    def _job(self, pick: int) -> UUID:
        # The latest first, so that an example shrinks towards few jobs; a pruned one may come too.
        return self.made[-1 - pick % len(self.made)]

    def _held(self, holder: int, batch: Sequence[int]) -> list[tuple[Token, Claim]]:
        holders = [tokens for tokens in self.held.values() if tokens]
        held = holders[holder % len(holders)]
        places = dict.fromkeys(pick % len(held) for pick in batch)  # each once, in the order drawn
        return [held[-1 - place] for place in places]

    async def _answered(self, call: object) -> str:
        try:
            answer = await call  # type: ignore[misc]
        except JobplaneError as error:
            return type(error).__name__
        return str(getattr(answer, "name", answer))


def _allowed(token: Token, outcome: Outcome) -> Outcome:
    # As the executor decides: no other round without an attempt left.
    if token.attempt < token.max_attempts:
        return outcome
    if isinstance(outcome, Rescheduled):
        return Failed(outcome.error, outcome.reason)
    if isinstance(outcome, Released) and outcome.error is not None:  # it began, so its attempt is spent
        return Failed(outcome.error, "interrupted")
    return outcome
