"""Histories for tests of the check: written by hand one transition at a time, or by a simulator of legal behaviour."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from jobplane.history.record import (
    Call,
    CallOutcome,
    Execution,
    ExecutionEvent,
    History,
    Profile,
    Row,
    Transition,
)
from jobplane.job import TERMINAL, JobStatus

PENDING, RUNNING = JobStatus.PENDING, JobStatus.RUNNING
COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
T0: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE: Final = timedelta(seconds=2)
PROFILE: Final = Profile(
    lease=LEASE,
    heartbeat_interval=timedelta(seconds=0.4),
    sweep_interval=timedelta(seconds=0.5),
    poll_interval=timedelta(seconds=0.5),
)
"""guarantees' test profile: 4 s of recovery."""
WORKERS: Final = ("alpha-11-0a0a0a0a", "beta-22-0b0b0b0b")
A, B = WORKERS


def at(seconds: float) -> datetime:
    """A moment of the run."""
    return T0 + timedelta(seconds=seconds)


def job(number: int) -> UUID:
    """An id; those of later numbers sort later."""
    return UUID(int=(0x0192 << 112) + number)


def actor(worker_id: str, duty: str = "worker") -> str:
    """The name of a worker's connections."""
    return f"jobplane {duty} {'-'.join(worker_id.split('-')[-2:])}"


@dataclass
class Script:
    """A history in the making. Each verb writes what jobplane would; `changes` make it wrong."""

    transitions: list[Transition] = field(default_factory=list)
    last: dict[UUID, Transition] = field(default_factory=dict)
    now: float = 0.0
    spent: int = 0
    """The highest epoch of any job that is gone."""

    def enqueue(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """A job that is due at once."""
        moment = self._tick(when)
        rev = self.last[job(number)].rev + 1 if job(number) in self.last else 1
        made = Transition(
            job_id=job(number),
            rev=rev,
            verb="enqueue",
            before=None,
            after=PENDING,
            epoch=0,
            attempts=0,
            max_attempts=3,
            type="work",
            queue="default",
            priority=0,
            unique_key=None,
            scheduled_at=at(moment),
            lease_was=None,
            lease_is=None,
            worker_id=None,
            actor="jobplane",
            at=at(moment),
        )
        return self._write(replace(made, **changes))  # type: ignore[arg-type] # a test names fields

    def claim(
        self, number: int = 1, worker: str = A, when: float | None = None, **changes: object
    ) -> Transition:
        """By a worker."""
        was = self.last[job(number)]
        made = self._next(number, "claim", RUNNING, when, actor(worker))
        made = replace(
            made,
            epoch=(was.epoch or self.spent) + 1,
            attempts=was.attempts + 1,
            worker_id=worker,
            lease_is=made.at + LEASE,
        )
        return self._write(replace(made, **changes))  # type: ignore[arg-type]

    def renew(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """By the holder's heartbeat."""
        made = self._next(number, "renew", RUNNING, when, self._holder(number, "heartbeat"))
        return self._write(replace(replace(made, lease_is=made.at + LEASE), **changes))  # type: ignore[arg-type]

    def end(self, verb: str, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """complete, fail, reschedule, snooze, release or cancel, by the holder."""
        after = {"complete": COMPLETED, "fail": FAILED, "cancel": CANCELLED}.get(verb, PENDING)
        made = self._next(number, verb, after, when, self._holder(number, "worker"))
        if verb in {"snooze", "release"}:
            made = replace(made, attempts=made.attempts - 1)
        if verb in {"reschedule", "snooze"}:
            made = replace(made, scheduled_at=made.at + timedelta(seconds=1))
        return self._write(replace(made, **changes))  # type: ignore[arg-type]

    def rescue(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """By whichever worker finds it."""
        was = self.last[job(number)]
        after = FAILED if was.attempts >= was.max_attempts else PENDING
        return self._write(replace(self._next(number, "rescue", after, when, actor(B)), **changes))  # type: ignore[arg-type]

    def cancel(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """By an operator: ends a pending job, asks for the end of a running one."""
        running = self.last[job(number)].after is RUNNING
        made = self._next(number, "cancel", RUNNING if running else CANCELLED, when, "jobplane")
        if running:
            made = replace(made, lease_is=made.lease_was)
        return self._write(replace(made, **changes))  # type: ignore[arg-type]

    def retry(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """By an operator."""
        made = self._next(number, "retry", PENDING, when, "jobplane")
        made = replace(made, scheduled_at=made.at, max_attempts=made.max_attempts + 1)
        return self._write(replace(made, **changes))  # type: ignore[arg-type]

    def other(self, number: int = 1, when: float | None = None, **changes: object) -> Transition:
        """By someone with a SQL client."""
        was = self.last[job(number)]
        made = replace(self._next(number, "other", was.after, when, "psql"), lease_is=was.lease_is)
        return self._write(replace(made, **changes))  # type: ignore[arg-type]

    def gone(
        self, verb: str = "prune", number: int = 1, when: float | None = None, **changes: object
    ) -> Transition:
        """Prune or delete."""
        self.spent = max(self.spent, self.last[job(number)].epoch)
        return self._write(replace(self._next(number, verb, None, when, actor(A)), **changes))  # type: ignore[arg-type]

    def history(self, **changes: object) -> History:
        """All of it, with the rows that it leads to."""
        made = History(
            transitions=tuple(self.transitions),
            rows=tuple(row_of(last) for last in self.last.values() if last.after is not None),
            now=at(self.now + 0.1),
            whole=True,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def _holder(self, number: int, duty: str) -> str:
        return actor(self.last[job(number)].worker_id or A, duty)

    def _next(
        self, number: int, verb: str, after: JobStatus | None, when: float | None, by: str
    ) -> Transition:
        was = self.last[job(number)]
        moment = at(self._tick(when))
        return replace(
            was,
            rev=was.rev + 1,
            verb=verb,
            before=was.after,
            after=after,
            lease_was=was.lease_is,
            lease_is=None,
            actor=by,
            at=moment,
        )

    def _write(self, made: Transition) -> Transition:
        self.transitions.append(made)
        self.last[made.job_id] = made
        return made

    def _tick(self, when: float | None) -> float:
        self.now = self.now + 0.1 if when is None else when
        return self.now


def row_of(last: Transition, **changes: object) -> Row:
    """The row that a transition leaves."""
    assert last.after is not None
    row = Row(
        job_id=last.job_id,
        status=last.after,
        attempts=last.attempts,
        max_attempts=last.max_attempts,
        epoch=last.epoch,
        queue=last.queue,
        unique_key=last.unique_key,
        scheduled_at=last.scheduled_at,
        lease_expires_at=last.lease_is,
        ended=last.after in TERMINAL,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def simulate(seed: int, jobs: int = 8, steps: int = 60) -> History:
    """A history that keeps every promise: legal steps in a random order until all has come to rest, with journals."""
    simulation = Simulation(random.Random(seed))
    for _ in range(steps):
        simulation.step(simulation.draw.randrange(jobs))
    simulation.settle()
    return simulation.script.history(
        calls=tuple(simulation.calls),
        executions=tuple(simulation.executions),
        profile=PROFILE,
        settled=True,
    )


@dataclass
class Simulation:
    """Two workers, some callers and an operator, none of whom does wrong; workers may die."""

    draw: random.Random
    script: Script = field(default_factory=Script)
    calls: list[Call] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)

    def step(self, number: int) -> None:
        """Something happens to a job, or nothing."""
        self.script.now += self.draw.choice((0.001, 0.05, 0.3))
        self._sweep()
        last = self.script.last.get(job(number))
        if last is None or (last.after is None and self.draw.random() < 0.5):
            self._enqueue(number)
        elif last.after is PENDING:
            self._start(number, last)
        elif last.after is RUNNING:
            self._run(number)
        elif last.after is not None and self.draw.random() < 0.5:
            self._after_the_end(number)

    def settle(self) -> None:
        """No more faults: everything comes to its end."""
        for last in [last for last in self.script.last.values() if last.after in {PENDING, RUNNING}]:
            number = last.job_id.int & 0xFFFF
            self.script.now += 0.01
            self._sweep()
            if self.script.last[job(number)].after is PENDING:
                self._claim(number)
            if self.script.last[job(number)].after is RUNNING:
                self._end("complete", number)

    def _enqueue(self, number: int) -> None:
        key = self.draw.choice((None, f"key-{number}"))
        made = self.script.enqueue(number, unique_key=key, max_attempts=self.draw.choice((1, 3)))
        outcome = self.draw.choice((CallOutcome.OK, CallOutcome.INFO))
        known = made.job_id if outcome is CallOutcome.OK else None
        self.calls.append(Call(operation="enqueue", outcome=outcome, job_id=known, begun_at=0.0))
        self.calls.append(Call(operation="enqueue", outcome=CallOutcome.FAIL, job_id=None, begun_at=0.0))

    def _start(self, number: int, last: Transition) -> None:
        if self.draw.random() < 0.1:
            self.script.cancel(number)
        elif at(self.script.now + 0.1) >= last.scheduled_at:
            self._claim(number)

    def _claim(self, number: int) -> None:
        self.script.now = max(
            self.script.now, (self.script.last[job(number)].scheduled_at - T0).total_seconds()
        )
        claimed = self.script.claim(number, self.draw.choice(WORKERS))
        if self.draw.random() < 0.9:
            self._journal(claimed, ExecutionEvent.START)

    def _run(self, number: int) -> None:
        last = self.script.last[job(number)]
        assert last.lease_is is not None
        if at(self.script.now + 0.2) >= last.lease_is:
            return  # its worker died: nothing happens until the lease has ended
        verb = self.draw.choice(
            ("complete", "fail", "snooze", "release", "renew", "renew", "reschedule", "cancel")
        )
        if verb == "renew":
            self.script.renew(number)
        elif verb == "cancel":
            self.script.cancel(number)
            self._end("cancel", number)
        elif verb == "release" and self._has_begun(last):
            # An interrupted attempt is spent.
            self._end("reschedule" if last.attempts < last.max_attempts else "fail", number)
        elif verb != "reschedule" or last.attempts < last.max_attempts:
            self._end(verb, number)

    def _end(self, verb: str, number: int) -> None:
        ended = self.script.end(verb, number)
        if self._has_begun(ended):
            self._journal(ended, ExecutionEvent.CANCELLED if verb == "cancel" else ExecutionEvent.END)

    def _has_begun(self, claim: Transition) -> bool:
        return any((item.job_id, item.epoch) == (claim.job_id, claim.epoch) for item in self.executions)

    def _after_the_end(self, number: int) -> None:
        if self.draw.random() < 0.5:
            made = self.script.retry(number)
            self.calls.append(
                Call(operation="retry", outcome=CallOutcome.OK, job_id=made.job_id, begun_at=0.0)
            )
        else:
            self.script.gone("prune", number)

    def _sweep(self) -> None:
        for last in list(self.script.last.values()):
            number = last.job_id.int & 0xFFFF
            if last.after is RUNNING and last.lease_is is not None and last.lease_is < at(self.script.now):
                self.script.rescue(number)
                if self.script.last[job(number)].after is PENDING:
                    self._claim(number)

    def _journal(self, made: Transition, event: ExecutionEvent) -> None:
        pid = int((made.worker_id or "-0-").split("-")[1])
        self.executions.append(
            Execution(event=event, job_id=made.job_id, epoch=made.epoch, pid=pid, at=made.at.timestamp())
        )
