"""One run of the fault suite: a database, workers and clients to be disturbed, and the verdict over what happened.

Each scenario disturbs, heals, demands progress (`settle`), and then asks the checker: `verdict` fails on any violation
of a promise and keeps the figures for the table at the end.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from jobplane import DatabaseSettings, Job, JobQueue
from jobplane.history.check import check, examine
from jobplane.history.figures import Figures, figures_of
from jobplane.history.record import History, Profile
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from tests.faults.clients import JournallingClient
from tests.faults.reading import read_history
from tests.faults.report import Report, told
from tests.support import Journal, WorkerProcess, until

SQL: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PROFILE: Final = Profile(
    lease=timedelta(seconds=2),
    heartbeat_interval=timedelta(seconds=0.4),
    sweep_interval=timedelta(seconds=0.5),
    poll_interval=timedelta(seconds=0.5),
)
"""The test profile of the promises: recovery within 4 s."""
SLOTS: Final = 8
GRACE: Final = 2


class FaultRun:
    """`async with FaultRun(...) as run:`; made by the fixture `fault_run`.

    Args:
        name: the fault, such as "F1 kill -9".
        url: a migrated, empty database.
        folder: where the journal and the logs go.
        seed: what all chance of this run follows from.
        long: whether to run at the length of the long profile.
        report: takes the figures of the run.
    """

    def __init__(
        self, name: str, url: str, folder: Path, seed: int, *, long: bool, report: Callable[[Report], None]
    ) -> None:
        self.name = name
        self.url = url
        self.seed = seed
        self.long = long
        self.folder = folder
        self.random = random.Random(f"{name} {seed}")
        self.profile = PROFILE
        """How the workers of this run are set; to be changed before the first is spawned."""
        self.allowance = timedelta(0)
        """How long faults keep all workers from the server: recovery is promised where a free one reaches it."""
        self.journal = Journal(folder / "journal.jsonl")
        self.limits: dict[str, int] = {}
        """How many jobs of a queue may run at once, for the checker (I16)."""
        self.ordered_queues: frozenset[str] = frozenset()
        """Queues whose order of claims the checker follows (I14)."""
        self.workers: list[WorkerProcess] = []
        self.kills = 0
        self._report = report
        self._every_second: list[str] = []
        self._began = 0.0
        self._client: JobQueue | None = None

    @property
    def client(self) -> JournallingClient:
        """A client that keeps the journal."""
        return JournallingClient(self.queue, self.journal)

    @property
    def queue(self) -> JobQueue:
        """A client that keeps none: to look at what there is."""
        assert self._client is not None, "the run has not begun"
        return self._client

    def spawn(
        self,
        *,
        slots: int = SLOTS,
        url: str | None = None,
        prefix: Sequence[str] = (),
        targets: str = "tests.faults.handlers",
        **environment: str,
    ) -> WorkerProcess:
        """Start a worker process.

        Args:
            slots: of the queue "default"; JOBPLANE_QUEUES in the environment wins.
            url: another way to the database, such as a proxy's.
            prefix: comes before Python on the command line.
            targets: the module with the handlers.
            environment: settings over the profile's.
        """
        profile = {
            "JOBPLANE_LEASE": f"{self.profile.lease.total_seconds()}",
            "JOBPLANE_HEARTBEAT_INTERVAL": f"{self.profile.heartbeat_interval.total_seconds()}",
            "JOBPLANE_SWEEP_INTERVAL": f"{self.profile.sweep_interval.total_seconds()}",
            "JOBPLANE_POLL_INTERVAL": f"{self.profile.poll_interval.total_seconds()}",
            "JOBPLANE_GRACE": f"{GRACE}",
            "JOBPLANE_QUEUES": f"default:{slots}",
            # What kills workers here is the fault, not the jobs; F19 sets the product's own limit.
            "JOBPLANE_CRASH_LIMIT": "1000",
        }
        worker = WorkerProcess(
            url or self.url,
            self.journal,
            {**profile, **environment},
            targets,
            module="tests.faults.worker",
            prefix=prefix,
        )
        self.workers.append(worker)
        return worker

    async def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL, and wait until it is gone."""
        worker.signal(signal.SIGKILL)
        await worker.exit_code()
        self.forget(worker)

    def forget(self, worker: WorkerProcess) -> None:
        """A worker that was killed, by the run or by its own failpoint: it is not missed."""
        self.workers.remove(worker)
        self.kills += 1

    async def every_second(self, schedule: str, queue: str) -> None:
        """Make a schedule of one `work` job a second; the checker then demands each of its ticks once (I17)."""
        self._every_second.append(schedule)
        await self.fetch(
            "INSERT INTO control_plane.schedules (name, cron, type, queue, missed) "
            "VALUES ($1, '@every 1s', 'work', $2, 'all')",
            schedule,
            queue,
        )

    async def stop(self, worker: WorkerProcess) -> int:
        """SIGTERM; its exit code."""
        self.workers.remove(worker)
        worker.signal(signal.SIGTERM)
        return await worker.exit_code()

    async def count(self, status: str) -> int:
        """How many jobs have a status."""
        return int(await self.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = $1", status))

    async def fetchval(self, query: str, *args: object) -> int:
        """A number, over a connection of its own: whatever happens to the others."""
        connection = await self._connected()
        try:
            return int(await connection.fetchval(query, *args) or 0)
        finally:
            await connection.close()

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Rows, over a connection of its own."""
        connection = await self._connected()
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def job(self, job_id: UUID) -> Job:
        """A job that must be there."""
        found = await self.queue.get_job(job_id)
        assert found is not None, f"job {job_id} is gone"
        return found

    async def completed(self, count: int, timeout: float = 120.0) -> None:
        """Wait until at least so many jobs are completed."""
        await self.until(lambda: self._has_completed(count), f"{count} jobs to complete", timeout)

    async def until(self, done: Callable[[], Awaitable[bool]], what: str, timeout: float = 20.0) -> None:
        """Wait for something; if it does not come, say which promises are broken by now beside what is missing."""
        try:
            await until(done, timeout)
        except AssertionError:
            broken = told(check(await self.history(settled=True)))
            raise AssertionError(
                f"{self.name}, seed {self.seed}: waited {timeout} s for {what}\n{broken}"
            ) from None

    def starts(self) -> Counter[str]:
        """How often the handler of each job began, by the journal."""
        return Counter(str(entry["job"]) for entry in self.journal.entries("start"))

    async def ready(self) -> None:
        """Wait until all workers that were spawned have said that they live."""
        query = "SELECT count(DISTINCT pid) FROM control_plane.workers WHERE pid = ANY ($1)"

        async def all_of_them() -> bool:
            return await self.fetchval(query, [worker.pid for worker in self.workers]) == len(self.workers)

        await self.until(all_of_them, f"{len(self.workers)} workers to start", 60)

    async def started(self, count: int, timeout: float = 30.0) -> None:
        """Wait until so many handlers have begun."""

        async def enough() -> bool:
            return len(self.journal.entries("start")) >= count

        await self.until(enough, f"{count} handlers to begin", timeout)

    async def settle(self, timeout: float | None = None) -> None:
        """Faults are healed: wait until no job runs and none is due. Fails after 4 (L + s + p) seconds (I4)."""

        async def at_rest() -> bool:
            query = (
                "SELECT count(*) FROM control_plane.jobs "
                "WHERE status = 'running' OR (status = 'pending' AND scheduled_at <= now())"
            )
            return await self.fetchval(query) == 0

        await self.until(
            at_rest, "the queue to come to rest", timeout or 4 * self.profile.recovery.total_seconds()
        )

    async def history(self, *, settled: bool = True) -> History:
        """What is known of the run so far."""
        profile = replace(self.profile, sweep_interval=self.profile.sweep_interval + self.allowance)
        found = await read_history(
            self.url, self._journal_lines(), profile, settled=settled, every_second=self._every_second
        )
        return replace(found, limits=self.limits, ordered_queues=self.ordered_queues)

    async def verdict(self, *, settled: bool = True, **more: object) -> Figures:
        """Fail on any violation, on a worker that ended by itself, and on what is left open; else the figures.

        `more` is printed beside them.
        """
        history = await self.history(settled=settled)
        examined = examine(history)
        found, violations = figures_of(examined), examined.violations
        seconds = asyncio.get_running_loop().time() - self._began
        self._report(Report(self.name, self.seed, seconds, found, more))
        shown = f"{self.name}, seed {self.seed}: {len(violations)} violations\n{told(violations)}\n{found}"
        assert not violations, shown
        for worker in self.workers:
            assert worker.process.poll() is None, (
                f"a worker ended by itself:\n{worker.log.read_text()[-3000:]}"
            )
        idle = await self.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction' AND state_change < now() - interval '1 s'"
        )
        assert idle == 0, "connections were left idle in transaction"
        return found

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        settings = DatabaseSettings(url=self.url)
        await HistoryStore(Database(settings)).on()
        self._client = JobQueue(settings=settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.end()
        assert self._client is not None
        await self._client.close()

    def _journal_lines(self) -> list[str]:
        return self.journal.path.read_text().splitlines() if self.journal.path.exists() else []

    async def _has_completed(self, count: int) -> bool:
        return await self.count("completed") >= count

    async def _connected(self) -> SQL:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return await asyncpg.connect(self.url, server_settings={"application_name": "fault suite"})
