"""Workers and forks: a worker made before a fork, children that handlers fork, and what becomes of their signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable

from jobplane import JobQueue, JobStatus
from tests.factories import SQL
from tests.support import WorkerProcess, until

FORKED_WORKERS = """
    import asyncio, os, sys
    from jobplane import JobQueue, Worker

    queue = JobQueue()

    @queue.task
    async def work() -> int:
        return os.getpid()

    worker = Worker(queue, queues="default:2", poll_interval=0.1)  # before the fork, as a master process would
    asyncio.run(queue.enqueue("work"))
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            asyncio.run(worker.run())
            os._exit(0)
        children.append(pid)
    print(*children, flush=True)
    sys.stdin.read()  # until the test has seen enough
"""


async def test_a_worker_made_before_the_fork_is_another_in_each_process(
    database_url: str, queue: JobQueue, sql: SQL
) -> None:
    """One id for two processes would mix up their leases, and the deaths of the one would count for the other."""
    program = _python(FORKED_WORKERS, database_url)
    try:
        assert program.stdout is not None
        children = {int(pid) for pid in program.stdout.readline().split()}

        async def both() -> bool:
            rows = await sql.fetch("SELECT id, pid FROM control_plane.workers")
            return {row["pid"] for row in rows} == children and len({row["id"] for row in rows}) == 2

        await until(both)
        made = [await queue.enqueue("work") for _ in range(10)]
        jobs = [await queue.wait(one.id, 20) for one in made]
        for pid in children:
            os.kill(pid, signal.SIGTERM)

        async def none() -> bool:
            return bool(await sql.fetchval("SELECT count(*) = 0 FROM control_plane.workers"))

        await until(none)
    finally:
        program.communicate(timeout=20)
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert {job.result for job in jobs} <= children


async def test_a_child_that_a_handler_forks_is_no_worker(
    queue: JobQueue, spawn_worker: Callable[..., WorkerProcess]
) -> None:
    """It comes back from the handler, or is told to stop: the job and the worker stay its parent's."""
    worker = spawn_worker(targets="tests.handlers_forks:forks")
    returned = await queue.enqueue("fork_and_return", max_attempts=1)
    stopped = await queue.enqueue("fork_and_stop_the_child", max_attempts=1)
    in_thread = await queue.enqueue("fork_in_thread", max_attempts=1)

    jobs = [await queue.wait(one.id, 30) for one in (returned, stopped, in_thread)]
    after = await queue.wait((await queue.enqueue("after")).id, 20)

    assert [(job.status, job.last_error) for job in jobs] == [(JobStatus.COMPLETED, None)] * 3
    assert jobs[1].result == -signal.SIGTERM, (
        "SIGTERM ended the child, and no handler of the worker's took it"
    )
    assert after.status is JobStatus.COMPLETED
    assert worker.process.poll() is None


def test_nothing_is_said_at_the_end_of_a_script(database_url: str) -> None:
    """With a module's own queue, used in both colours, and with a child that was forked in between."""
    script = """
        import asyncio, os
        from jobplane import JobQueue, SyncJobQueue

        queue = JobQueue()
        other = SyncJobQueue()
        asyncio.run(queue.enqueue("work"))
        other.enqueue("work")
        if (pid := os.fork()) == 0:
            other.enqueue("work")
        else:
            os.waitpid(pid, 0)
        other.close()
    """
    for text in ("import jobplane", script):
        program = _python(text, database_url)
        said, _ = program.communicate(timeout=60)
        assert (program.returncode, said) == (0, "")


def _python(script: str, url: str) -> subprocess.Popen[str]:
    """A program; what it says, on either channel, comes out of its stdout."""
    return subprocess.Popen(
        # Newer Pythons warn of a fork where threads run, which is what these programs are about.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
