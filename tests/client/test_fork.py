"""A client that was used before a fork serves parent, children and their children, each on its own connections."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations
from typing import Final, Protocol, cast

import psycopg
import pytest

from jobplane import ForkedProcessError, JobPayload, JobQueue, NewJob, SyncJobQueue, ids, new_job
from jobplane.client import default
from tests.factories import SQL, count_jobs
from tests.forks import Child, fork

KINDS: Final = ("SyncJobQueue", "JobQueue", "JobQueue.sync", "default queue", "default queue, sync", "@task")


class Client(Protocol):
    """A client of either colour, made and used before the fork."""

    def round_trips(self, who: str, count: int) -> int:
        """Write jobs and read each back; how many were what had been written."""

    def load(self, who: str, began: threading.Event, over: threading.Event) -> bool:
        """Round trips until it is over; whether all were right."""


class Synchronous(Protocol):
    def round_trips(self, who: str, count: int) -> int: ...


def _load(client: Synchronous, who: str, began: threading.Event, over: threading.Event) -> bool:
    right = True
    while not over.is_set():
        right &= client.round_trips(who, 1) == 1
        began.set()
    return right


class Blocking:
    def __init__(self, queue: SyncJobQueue) -> None:
        self._queue = queue

    def load(self, who: str, began: threading.Event, over: threading.Event) -> bool:
        return _load(self, who, began, over)

    def round_trips(self, who: str, count: int) -> int:
        right = 0
        for index in range(count):
            wanted: JobPayload = {"who": who, "index": index}
            job = self._queue.get_job(self._queue.enqueue("forked", wanted).id)
            right += job is not None and job.payload == wanted
        return right


class Awaiting:
    """As many event loops as calls, as scripts and the threads of a web server have."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def round_trips(self, who: str, count: int) -> int:
        return asyncio.run(self._round_trips(who, count))

    def load(self, who: str, began: threading.Event, over: threading.Event) -> bool:
        return asyncio.run(self._load(who, began, over))

    async def _load(self, who: str, began: threading.Event, over: threading.Event) -> bool:
        right, number = True, 0
        async with self._queue:
            while not over.is_set():
                number += 4
                right &= all(
                    await asyncio.gather(*(self._round_trip(who, number + index) for index in range(4)))
                )
                began.set()
        return right

    async def _round_trips(self, who: str, count: int) -> int:
        async with self._queue:
            return sum(await asyncio.gather(*(self._round_trip(who, index) for index in range(count))))

    async def _round_trip(self, who: str, index: int) -> bool:
        wanted: JobPayload = {"who": who, "index": index}
        job = await self._queue.get_job((await self._queue.enqueue("forked", wanted)).id)
        return job is not None and job.payload == wanted


class Tasked:
    """By `@task`, whose queue is the process's default one."""

    def __init__(self) -> None:
        @default.task(name="forked")
        def forked(who: str, index: int) -> None: ...

        self._task = forked

    def load(self, who: str, began: threading.Event, over: threading.Event) -> bool:
        return _load(self, who, began, over)

    def round_trips(self, who: str, count: int) -> int:
        right = 0
        for index in range(count):
            job = default.default_queue().sync.get_job(self._task.enqueue_sync(who, index).id)
            right += job is not None and job.payload == {"who": who, "index": index}
        return right


@pytest.fixture
def make_client(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Client]]:
    """Makes the client of a kind, on the test's database; it is closed at the end."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(default, "_default", JobQueue())
    asynchronous, synchronous = JobQueue(database_url), SyncJobQueue(database_url)

    def make(kind: str) -> Client:
        match kind:
            case "SyncJobQueue":
                return Blocking(synchronous)
            case "JobQueue":
                return Awaiting(asynchronous)
            case "JobQueue.sync":
                return Blocking(asynchronous.sync)
            case "default queue":
                return Awaiting(default.default_queue())
            case "default queue, sync":
                return Blocking(default.default_queue().sync)
            case _:
                return Tasked()

    yield make
    for queue in (synchronous, asynchronous.sync, default.default_queue().sync):
        queue.close()


@pytest.fixture
async def sessions(sql: SQL) -> Callable[[], Awaitable[Mapping[str, set[int]]]]:
    """Tells which sessions of the server have written the jobs of whom."""
    await sql.execute("""
        CREATE TABLE public.written (who text, pid integer);
        CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO public.written VALUES (NEW.payload ->> 'who', pg_backend_pid());
                RETURN NULL;
            END $$;
        CREATE TRIGGER note AFTER INSERT ON control_plane.jobs FOR EACH ROW EXECUTE FUNCTION public.note();
    """)

    async def seen() -> Mapping[str, set[int]]:
        rows = await sql.fetch("SELECT who, array_agg(DISTINCT pid) AS pids FROM public.written GROUP BY who")
        return {row["who"]: set(row["pids"]) for row in rows}

    return seen


@contextmanager
def under_load(client: Client, who: str) -> Iterator[None]:
    """The client is used in another thread until the block ends; everything there must have gone right."""
    over, began = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(client.load, who, began, over)
        assert began.wait(30)
        try:
            yield
        finally:
            over.set()
        assert loading.result(), f"the client of {who} was given other jobs than its own"


@pytest.mark.parametrize("kind", KINDS)
async def test_parent_children_and_grandchildren_never_share_a_connection(
    kind: str,
    make_client: Callable[[str], Client],
    sessions: Callable[[], Awaitable[Mapping[str, set[int]]]],
) -> None:
    client = make_client(kind)

    def live(who: str) -> list[object]:
        before = client.round_trips(who, 5)
        grandchild = Child(lambda: client.round_trips(f"child of {who}", 5))
        return [before, client.round_trips(who, 5), grandchild.answer()]

    def disturb() -> list[object]:
        client.round_trips("parent", 2)
        with under_load(client, "parent"), ThreadPoolExecutor(1) as other_thread:
            children = [
                Child(lambda: live("one")),
                other_thread.submit(Child, lambda: live("two")).result(),
                Child(lambda: live("three")),
            ]
            return [child.answer() for child in children]

    assert await asyncio.to_thread(disturb) == [[5, 5, 5]] * 3

    found = await sessions()
    assert len(found) == 7
    for one, other in combinations(found, 2):
        assert not found[one] & found[other], f"{one} and {other} spoke on one connection"


def test_locks_that_another_thread_held_at_the_fork_do_not_hold_up_the_child(database_url: str) -> None:
    with SyncJobQueue(database_url) as queue, queue._opening, ids._lock:
        child = Child(lambda: Blocking(queue).round_trips("child", 3))

    assert child.answer() == 3


def test_forks_at_any_moment_of_calls_of_other_threads(database_url: str) -> None:
    """Four threads use the client, so that locks of it, of its pool and of the driver are held at most forks."""
    with SyncJobQueue(database_url) as queue:
        client, over = Blocking(queue), threading.Event()
        with ThreadPoolExecutor(4) as pool:
            loads = [
                pool.submit(client.load, f"thread {number}", threading.Event(), over) for number in range(4)
            ]
            try:
                for _ in range(15):
                    assert Child(lambda: client.round_trips("child", 1)).answer() == 1
            finally:
                over.set()
            assert all(load.result() for load in loads)


def test_ids_of_siblings_differ(database_url: str) -> None:
    children = [Child(lambda: [str(ids.new_job_id()) for _ in range(200)]) for _ in range(4)]
    made = [job_id for child in children for job_id in cast("list[str]", child.answer())]

    assert len(set(made)) == 800


async def test_a_child_that_closes_the_client_closes_only_its_own(database_url: str, sql: SQL) -> None:
    queue = JobQueue(database_url)
    await queue.enqueue("work")
    await asyncio.to_thread(queue.sync.enqueue, "work")
    before = await _pids(sql)

    def close() -> int:
        asyncio.run(queue.close())
        queue.sync.close()
        right = Blocking(queue.sync).round_trips("child", 2)  # and it can be used after that
        queue.sync.close()
        return right

    child = await asyncio.to_thread(Child, close)
    assert await asyncio.to_thread(child.answer) == 2

    assert await _pids(sql) == before
    await queue.enqueue("work")
    await asyncio.to_thread(queue.sync.enqueue, "work")
    assert await _pids(sql) == before, "the parent had to connect again"
    await queue.close()


async def test_a_child_takes_no_part_in_a_call_during_which_it_was_forked(
    database_url: str, sql: SQL
) -> None:
    """The parent's COPY goes on and commits; in the child it fails at once, and the child's own calls work."""
    read, write = os.pipe()

    def jobs() -> Iterator[NewJob]:
        yield new_job("work", {})
        fork()
        yield new_job("work", {})

    def copy() -> int:
        parent = os.getpid()
        with SyncJobQueue(database_url) as queue:
            try:
                return queue.enqueue_many(jobs())
            except ForkedProcessError:
                os.write(write, b"%d of 2 right" % Blocking(queue).round_trips("child", 2))
                return 0
            finally:
                if os.getpid() != parent:
                    os._exit(0)

    assert await asyncio.to_thread(copy) == 2
    os.close(write)
    assert await asyncio.to_thread(os.read, read, 100) == b"2 of 2 right"
    os.close(read)
    assert await count_jobs(sql) == 4


async def test_a_childs_own_connection_works_with_a_client_of_its_parent(database_url: str, sql: SQL) -> None:
    queue = SyncJobQueue(database_url)
    await asyncio.to_thread(queue.enqueue, "parent")

    def enqueue() -> None:
        with psycopg.connect(database_url) as connection:
            queue.enqueue("child", connection=connection)
            connection.rollback()
            queue.enqueue("child", connection=connection)

    child = await asyncio.to_thread(Child, enqueue)
    await asyncio.to_thread(child.answer)

    assert await count_jobs(sql) == 2
    queue.close()


async def _pids(sql: SQL) -> list[int]:
    rows = await sql.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'jobplane' "
        "AND datname = current_database() ORDER BY pid"
    )
    return [row["pid"] for row in rows]
