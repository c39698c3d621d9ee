"""Clients that write down what they asked for and what they were told, outside of the database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Unpack

from jobplane import DatabaseError, EnqueueJobResult, InvalidInputError, JobPayload, JobQueue, new_job
from jobplane.job import NewJob
from jobplane.options import JobQueueOptions
from tests.support import Journal


class JournallingClient:
    """A client whose calls can be held against the database afterwards."""

    def __init__(self, queue: JobQueue, journal: Journal) -> None:
        self.queue = queue
        self._journal = journal

    async def enqueue(
        self,
        type: str,  # noqa: A002 - the column's name
        payload: JobPayload,
        *,
        key: str,
        **options: Unpack[JobQueueOptions],
    ) -> EnqueueJobResult:
        """One try. Raises what the call raised; the journal then says whether it may have happened."""
        call = uuid.uuid4().hex
        self._journal.write(event="invoke", op="enqueue", call=call, key=key)
        try:
            options["idempotency_key"] = key
            made = await self.queue.enqueue(type, payload, **options)
        except InvalidInputError:
            self._journal.write(event="fail", op="enqueue", call=call, key=key)
            raise
        except BaseException:
            self._journal.write(event="info", op="enqueue", call=call, key=key)
            raise
        self._journal.write(event="ok", op="enqueue", call=call, key=key, job=made.id)
        return made

    async def enqueue_surely(
        self,
        type: str,  # noqa: A002 - the column's name
        payload: JobPayload,
        *,
        key: str,
        **options: Unpack[JobQueueOptions],
    ) -> EnqueueJobResult:
        """As a careful caller does: again under the same key until there is an answer."""
        while True:
            try:
                return await self.enqueue(type, payload, key=key, **options)
            except DatabaseError:
                await asyncio.sleep(0)  # the client has waited already, as long as its patience

    async def enqueue_many(self, jobs: list[NewJob]) -> None:
        """By COPY: all or none."""
        calls = {job.id: uuid.uuid4().hex for job in jobs}
        for job in jobs:
            self._journal.write(event="invoke", op="enqueue", call=calls[job.id], job=job.id)
        await self.queue.enqueue_many(jobs)
        for job in jobs:
            self._journal.write(event="ok", op="enqueue", call=calls[job.id], job=job.id)


def jobs_of(
    type: str,  # noqa: A002 - the column's name
    payloads: Sequence[JobPayload],
    **options: Unpack[JobQueueOptions],
) -> list[NewJob]:
    """Wishes for jobs of one type."""
    return [new_job(type, payload, options) for payload in payloads]
