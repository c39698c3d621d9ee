"""What a worker asks of the database: one method for each statement, with the statement's name.

Enqueueing and administration, which also run on callers' connections, are in jobplane.client.ops.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from uuid import UUID

from jobplane.job import Claim
from jobplane.outcome import Outcome
from jobplane.payload import encode_json
from jobplane.settings import WorkerSettings
from jobplane.sql import SQLValue, channel
from jobplane.store.database import Database
from jobplane.store.lane import Lane
from jobplane.store.limited import LimitedQueues
from jobplane.store.owners import pruning
from jobplane.store.rows import as_uuid, claims_of
from jobplane.store.verdict import verdict_of
from jobplane.wakeups import Wake

_id = attrgetter("id")


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """What a heartbeat learned of one held job."""

    id: UUID
    epoch: int
    renewed: bool
    ours: bool
    """False once the job was taken back, ended by someone else, or deleted."""
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """What a worker says of itself."""

    id: str
    host: str
    pid: int
    version: str
    queues: dict[str, int]
    types: tuple[str, ...]


class Store:
    """The statements of a worker on one database.

    Args:
        database: where to.
        lane: a connection of one's own for them; default: one of the pool for each statement.
    """

    def __init__(self, database: Database, lane: Lane | None = None) -> None:
        self.database = database
        self._over = database if lane is None else lane
        self.limited = LimitedQueues(database, self._over)
        self._claim = database.statement("job/claim")
        self._claim_onward = database.statement("job/claim_onward")
        self._complete = database.statement("job/complete")
        self._complete_epoch = database.statement("job/complete_epoch", verb="job/complete")
        self._finish = database.statement("job/finish")

    @property
    def connected(self) -> bool:
        """Whether the time that the next statement takes is its own: no connection has to be opened for it first."""
        return not isinstance(self._over, Lane) or self._over.connected

    async def claim(
        self,
        queue: str,
        types: Sequence[str],
        worker_id: str,
        lease: timedelta,
        limit: int,
        *,
        beyond: Sequence[tuple[int, tuple[datetime, UUID]]] = (),
    ) -> list[Claim]:
        """Start the attempts of up to `limit` due jobs, in order.

        One try: a claim is never repeated blindly, since a lost answer leaves jobs claimed, which their
        leases give back.

        Args:
            queue: which queue.
            types: the job types that this worker knows.
            worker_id: whose claim it is.
            lease: how long it holds without renewal.
            limit: how many jobs at most.
            beyond: by priority, highest first, the due time and id of a job: only jobs of these priorities that come
                after it. Default: all jobs.
        """
        sent = time.monotonic()
        statement = self._claim_onward if beyond else self._claim
        args: dict[str, SQLValue] = {
            "lease": lease.total_seconds(),
            "worker_id": worker_id,
            "queue": queue,
            "types": types,
            "limit": limit,
        }
        if beyond:
            args["priorities"] = [priority for priority, _ in beyond]
            args["ats"] = [at for _, (at, _) in beyond]
            args["ids"] = [job_id for _, (_, job_id) in beyond]
        rows = await self._over.fetch_once(statement, statement.positions(args))
        return claims_of(rows, sent + lease.total_seconds())

    async def complete(self, claims: Sequence[Claim]) -> set[UUID]:
        """End claims as completed, without results; returns the ids that are, also by an earlier try of the same."""
        # In one order everywhere: a batch whose answer was lost may still be at work when it is sent again, and two
        # that lock the same rows in different orders wait for each other.
        claims = sorted(claims, key=_id)
        args: dict[str, SQLValue] = {"ids": [claim.id for claim in claims]}
        epochs = [claim.epoch for claim in claims]
        if len(set(epochs)) == 1:
            ((count,),) = await self._over.fetch(self._complete_epoch, {**args, "epoch": epochs[0]})
            ours = {claim.id for claim in claims} if count == len(claims) else set()
        else:
            ours = {row[0] for row in await self._over.fetch(self._complete, {**args, "epochs": epochs})}
        if len(ours) < len(claims):
            # Lost, or written by a try whose answer was lost.
            ours |= await self._completed([claim for claim in claims if claim.id not in ours])
        return ours

    async def _completed(self, claims: Sequence[Claim]) -> set[UUID]:
        args: dict[str, SQLValue] = {
            "ids": [claim.id for claim in claims],
            "epochs": [claim.epoch for claim in claims],
        }
        rows = await self._over.fetch(self.database.statement("job/completed"), args)
        return {row[0] for row in rows}

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[UUID]:
        """End claims with any outcome but Lost; returns the ids that were still ours."""
        ended = sorted(ended, key=lambda both: both[0].id)  # as in complete
        verdicts = [verdict_of(outcome) for _, outcome in ended]
        errors = [verdict.error for verdict in verdicts]
        rows = await self._over.fetch(
            self._finish,
            {
                "ids": [claim.id for claim, _ in ended],
                "epochs": [claim.epoch for claim, _ in ended],
                "statuses": [verdict.status.value for verdict in verdicts],
                "delays": [verdict.delay for verdict in verdicts],
                "given_back": [verdict.given_back for verdict in verdicts],
                "results": [verdict.result for verdict in verdicts],
                "last_errors": [None if error is None else error.line() for error in errors],
                "reasons": [verdict.reason for verdict in verdicts],
                "error_types": [None if error is None else error.type for error in errors],
                "messages": [None if error is None else error.message for error in errors],
                "frames": [
                    None if error is None else encode_json("frames", error.frames, 8192) for error in errors
                ],
            },
        )
        return {row[0] for row in rows}

    async def isolate(self, claim: Claim) -> bool:
        """Note that a suspect begins now, alone in its worker; whether it is still ours."""
        args: dict[str, SQLValue] = {"id": str(claim.id), "epoch": claim.epoch}
        return bool(await self._over.fetch(self.database.statement("job/isolate"), args))

    async def locked(self, claims: Sequence[Claim]) -> set[UUID]:
        """Which of these rows someone else keeps locked."""
        args: dict[str, SQLValue] = {"ids": [claim.id for claim in claims]}
        rows = await self._over.fetch(self.database.statement("job/locked"), args)
        return {row[0] for row in rows}

    async def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[LeaseReport]:
        """Extend leases; says of each job whether it is still ours and whether someone wants it cancelled."""
        rows = await self._over.fetch(
            self.database.statement("job/renew"),
            {
                "ids": [claim.id for claim in claims],
                "epochs": [claim.epoch for claim in claims],
                "lease": lease.total_seconds(),
            },
        )
        return [LeaseReport(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[tuple[UUID, int]]:
        """Which of these claims someone wants cancelled, as job id and epoch; only while they run."""
        rows = await self._over.fetch(
            self.database.statement("job/cancel_requested"),
            {"ids": [claim.id for claim in claims], "epochs": [claim.epoch for claim in claims]},
        )
        return [(row[0], row[1]) for row in rows]

    async def progress(self, reports: Sequence[tuple[Claim, str]]) -> set[UUID]:
        """Keep what handlers last said of how far they are; returns the ids of rows that someone had locked."""
        rows = await self._over.fetch(
            self.database.statement("job/progress"),
            {
                "ids": [claim.id for claim, _ in reports],
                "epochs": [claim.epoch for claim, _ in reports],
                "reports": [report for _, report in reports],
            },
        )
        return {row[0] for row in rows}

    async def rescue(self, limit: int = 500, crash_limit: int = 3) -> list[tuple[UUID, str]]:
        """Take back jobs with expired leases; returns ids and queues.

        A job fails that lost its last attempt, or so many claims within a day that it is to blame (it ran alone). One that
        waited to run alone had not begun, and keeps its attempt.
        """
        args: dict[str, SQLValue] = {"limit": limit, "crash_limit": crash_limit}
        rows = await self._over.fetch(self.database.statement("job/rescue"), args)
        return [(as_uuid(row["id"]), row["queue"]) for row in rows]

    async def prune(self, settings: WorkerSettings, limit: int = 1000) -> int:
        """Delete up to `limit` ended jobs past their retention; returns how many."""
        statement = await pruning(self.database, "job/prune")
        values = statement.positions(
            {
                "keep_completed": settings.keep_completed.total_seconds(),
                "keep_failed": settings.keep_failed.total_seconds(),
                "keep_cancelled": settings.keep_cancelled.total_seconds(),
                "limit": limit,
            }
        )

        async def attempt() -> int:
            async with self.database.transaction() as connection:
                # The index on scheduled_at is a BRIN, which only a bitmap scan can read.
                await connection.execute("SET LOCAL enable_bitmapscan = on")
                return len(await connection.fetch(statement.numbered, *values))

        return await self.database.patiently(statement.name, attempt)

    async def take_duty(self, name: str, interval: timedelta, worker_id: str) -> bool:
        """Whether the duty was due and is now ours to do."""
        rows = await self._over.fetch(
            self.database.statement("duty/claim"),
            {"name": name, "interval": interval.total_seconds(), "worker_id": worker_id},
        )
        return bool(rows)

    async def beat(self, card: WorkerCard, running: int) -> None:
        """Say that this worker lives."""
        await self._over.fetch(
            self.database.statement("worker/beat"),
            {
                "id": card.id,
                "host": card.host,
                "pid": card.pid,
                "version": card.version,
                "queues": encode_json("queues", card.queues, 65536),
                "types": list(card.types),
                "running": running,
            },
        )

    async def leave(self, worker_id: str) -> None:
        """Say that this worker has stopped in order."""
        await self._over.fetch(self.database.statement("worker/leave"), {"id": worker_id})

    async def forget_workers(self, after: timedelta) -> None:
        """Remove the rows of workers not heard of for so long."""
        await self._over.fetch(self.database.statement("worker/forget"), {"after": after.total_seconds()})

    async def notify(self, queue: str) -> None:
        """Wake the workers of a queue."""
        await self._over.fetch(
            self.database.statement("wake/notify"),
            {"channel": channel(self.database.settings.schema), "word": Wake(queue).word},
        )
