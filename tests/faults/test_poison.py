"""Jobs that kill their worker (F19): each at most as often as it may, and nobody fails for having been near (I4 to I7)."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from jobplane import JobStatus
from tests.faults.cgroup import memory_group
from tests.faults.clients import jobs_of
from tests.faults.run import FaultRun
from tests.support import WorkerProcess, until

CRASH_LIMIT: Final = 3
GOOD: Final = 500


@pytest.fixture
def limited_memory() -> Iterator[Sequence[str]]:
    """Runs a worker in 256 MB."""
    with memory_group(256) as prefix:
        yield prefix


async def test_f19_exits_and_segfaults(fault_run: FaultRun) -> None:
    """5 poison jobs among 500 good ones, and 2 workers that are started again whenever they die."""
    await _poison(fault_run, ["exit_at_once", "segfault", "exit_at_once", "segfault", "exit_at_once"], ())


async def test_f19_out_of_memory(fault_run: FaultRun, limited_memory: Sequence[str]) -> None:
    """The same with one that needs more memory than there is."""
    await _poison(fault_run, ["swallow_memory"], limited_memory)


async def _poison(run: FaultRun, poisons: list[str], prefix: Sequence[str]) -> None:
    good = GOOD * (4 if run.long else 1)
    wishes = [
        # Two attempts are the fewest that may run again; the last poison has fewer than the crash limit.
        *jobs_of("work", [{"seconds": run.random.uniform(0.005, 0.05)} for _ in range(good - 50)]),
        *jobs_of("work", [{"seconds": run.random.uniform(0.005, 0.05)} for _ in range(50)], max_attempts=2),
        *(job for poison in poisons[1:] for job in jobs_of(poison, [{}], max_attempts=20)),
        *jobs_of(poisons[0], [{}], max_attempts=2),
    ]
    run.random.shuffle(wishes)
    await run.client.enqueue_many(wishes)

    started: list[WorkerProcess] = []

    def spawn() -> WorkerProcess:
        worker = run.spawn(
            targets="tests.faults.handlers_poison", prefix=prefix, JOBPLANE_CRASH_LIMIT=str(CRASH_LIMIT)
        )
        started.append(worker)
        return worker

    workers = [spawn() for _ in range(2)]
    deaths: Counter[int] = Counter()

    async def all_ended() -> bool:
        for number, worker in enumerate(workers):
            if worker.process.poll() is not None:
                deaths[await worker.exit_code()] += 1
                run.forget(worker)
                workers[number] = spawn()
        ended = "SELECT count(*) FROM control_plane.jobs WHERE status IN ('completed', 'failed')"
        return await run.fetchval(ended) == len(wishes)

    await until(all_ended, 100)
    await run.settle()

    apart = sum(worker.log.read_text().count("it runs alone now") for worker in started)
    figures = await run.verdict(deaths=sum(deaths.values()), apart=apart)
    starts = Counter(entry["job"] for entry in run.journal.entries("start"))
    for wish in wishes:
        job = await run.queue.get_job(wish.id)
        assert job is not None
        if wish.type == "work":
            assert job.status is JobStatus.COMPLETED, job
            continue
        attempts = await run.queue.list_attempts(wish.id)
        assert job.status is JobStatus.FAILED
        assert starts[str(wish.id)] <= min(wish.max_attempts, CRASH_LIMIT), attempts
        assert attempts[-1].outcome == "crashed"
    assert figures.completions == good
    assert set(deaths) <= {137, -signal.SIGSEGV, -signal.SIGKILL}
    assert sum(deaths.values()) <= CRASH_LIMIT * len(poisons)
