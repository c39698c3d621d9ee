"""Wake-ups: after the commit, debounced, and never worth an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from jobplane import DatabaseUnavailableError, JobQueue
from jobplane.client.notifier import Notifier
from jobplane.ids import new_job_id
from jobplane.sql import channel
from tests.factories import SQL, count_jobs
from tests.support import until


@pytest.fixture
async def heard(sql: SQL) -> list[str]:
    """What those hear who listen on the schema's channel."""
    heard: list[str] = []
    await sql.add_listener(channel("control_plane"), lambda *args: heard.append(str(args[3])))
    return heard


async def test_an_enqueue_wakes_the_workers_of_its_queue(queue: JobQueue, heard: list[str]) -> None:
    await queue.enqueue("work", queue="mail")

    async def something() -> list[str]:
        return heard

    assert await until(something) == ["mail"]


async def test_an_enqueue_that_made_nothing_wakes_nobody(queue: JobQueue, heard: list[str]) -> None:
    await queue.enqueue("work", queue="first", unique_key="k")
    await queue.enqueue("work", queue="second", unique_key="k")
    await queue.enqueue("work", queue="third")

    async def the_last() -> bool:
        return "third" in heard

    await until(the_last)
    assert heard == ["first", "third"]


async def test_a_thousand_enqueues_wake_a_few_times(queue: JobQueue, heard: list[str]) -> None:
    """A transaction that notifies holds a lock of the whole database through its flush."""
    await asyncio.gather(*(queue.enqueue("work") for _ in range(1000)))
    await queue.enqueue("work", queue="last")

    async def the_last() -> bool:
        return "last" in heard

    await until(the_last)
    assert 1 <= heard.count("default") <= 100


async def test_closing_sends_what_is_outstanding(database_url: str, heard: list[str]) -> None:
    async with JobQueue(database_url) as queue:
        await queue.enqueue("work", queue="a")
        await queue.enqueue("work", queue="b")

    async def both() -> bool:
        return set(heard) == {"a", "b"}

    await until(both)


async def test_words_said_while_one_is_sent_are_sent_after_it() -> None:
    sent: list[str] = []
    gate = asyncio.Event()

    async def notify(word: str) -> None:
        sent.append(word)
        await gate.wait()

    notifier = Notifier(notify)
    notifier.wake("a")

    async def under_way() -> bool:
        return sent == ["a"]

    await until(under_way)
    for word in ("b", "b", "c", "b"):
        notifier.wake(word)
    gate.set()
    await notifier.settle()

    assert sent[0] == "a"
    assert sorted(sent[1:]) == ["b", "c"]


async def test_a_wake_up_that_fails_is_logged_and_the_next_one_sent(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    async def notify(word: str) -> None:
        sent.append(word)
        if word == "bad":
            raise DatabaseUnavailableError("gone")

    notifier = Notifier(notify)
    with caplog.at_level(logging.WARNING, "jobplane.client"):
        notifier.wake("bad")
        await notifier.settle()
        notifier.wake("good")
        await notifier.settle()

    assert sent == ["bad", "good"]
    assert "workers were not woken (they will find the jobs at their next poll)" in caplog.text


async def test_settling_when_nothing_was_said_is_fine() -> None:
    async def notify(_: str) -> None: ...

    await Notifier(notify).settle()


@pytest.fixture
async def silenced(database_url: str, sql: SQL) -> AsyncIterator[str]:
    """The URL of a role that may do everything here but notify."""
    role = f"silenced_{new_job_id().hex}"
    await sql.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA control_plane TO {role}; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA control_plane TO {role}; "
        "REVOKE EXECUTE ON FUNCTION pg_notify FROM public"
    )
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{role}:p@{parts.hostname}:{parts.port}"))
    await sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_job_that_was_written_is_a_success_though_nobody_could_be_woken(
    silenced: str, sql: SQL, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "jobplane.client"):
        async with JobQueue(silenced) as queue:
            await queue.enqueue("work")
            await asyncio.to_thread(queue.sync.enqueue, "work")

    assert await count_jobs(sql) == 2
    assert caplog.text.count("workers were not woken") == 2
