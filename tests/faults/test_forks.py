"""A client that forks under load, as web servers that load their application first do: each process is answered with its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

from jobplane import DatabaseSettings, SyncJobQueue
from tests.faults.run import FaultRun
from tests.forks import Child

CHILDREN = 12
EACH = 10
"""Jobs of each child."""


async def test_forked_children_are_answered_with_their_own_jobs(fault_run: FaultRun) -> None:
    run = fault_run
    for _ in range(2):
        run.spawn()
    await run.ready()

    wrong = await asyncio.to_thread(_disturb, run)
    assert not wrong, f"I2: {len(wrong)} processes were not answered with their own jobs: {wrong[:3]}"
    await run.settle(60)
    found = await run.verdict(forks=CHILDREN)
    assert found.completions >= CHILDREN * EACH


def _disturb(run: FaultRun) -> list[str]:
    limits = replace(
        DatabaseSettings(url=run.url), patience=timedelta(seconds=5), statement_timeout=timedelta(seconds=5)
    )
    over = threading.Event()
    with SyncJobQueue(settings=limits) as queue, ThreadPoolExecutor(1) as pool:
        _live(run, queue, "parent", 1)

        def load() -> list[str]:
            wrong, number = [], 0
            while not over.is_set():
                number += 1
                wrong += _live(run, queue, f"parent {number}", 1)
            return wrong

        loading = pool.submit(load)
        try:
            lives = [partial(_live, run, queue, f"child {number}", EACH) for number in range(CHILDREN)]
            children = [Child(life) for life in lives]
            answers = [_answer(child) for child in children]
        finally:
            over.set()
        return [said for answer in (*answers, loading.result()) for said in answer]


def _live(run: FaultRun, queue: SyncJobQueue, who: str, count: int) -> list[str]:
    """Write jobs and read each back; says what was wrong."""
    wrong = []
    for index in range(count):
        key = f"{who} {index}"
        run.journal.write(event="invoke", op="enqueue", call=key, key=key)
        try:
            made = queue.enqueue("work", {"who": key}, idempotency_key=key)
            job = queue.get_job(made.id)
        except Exception as error:  # noqa: BLE001 - whatever the answer of another looks like
            run.journal.write(event="info", op="enqueue", call=key, key=key)
            wrong.append(f"{key}: {type(error).__name__}")
            continue
        run.journal.write(event="ok", op="enqueue", call=key, key=key, job=made.id)
        if job is None or job.payload != {"who": key}:
            wrong.append(f"{key}: {'nothing' if job is None else 'the job of another'}")
    return wrong


def _answer(child: Child) -> list[str]:
    try:
        answer = child.answer()
    except AssertionError as error:
        return [str(error)[-300:]]
    return [str(said) for said in answer] if isinstance(answer, list) else [repr(answer)]
