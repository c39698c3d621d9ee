"""A client that forks under load, as web servers that load their application first do: each process is answered with its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

from jobplane import DatabaseSettings, SyncJobQueue
from tests.faults.mischief import answer, live
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
        live(run, queue, "parent", 1)

        def load() -> list[str]:
            wrong, number = [], 0
            while not over.is_set():
                number += 1
                wrong += live(run, queue, f"parent {number}", 1)
            return wrong

        loading = pool.submit(load)
        try:
            lives = [partial(live, run, queue, f"child {number}", EACH) for number in range(CHILDREN)]
            children = [Child(life) for life in lives]
            answers = [answer(child) for child in children]
        finally:
            over.set()
        return [said for answer in (*answers, loading.result()) for said in answer]
