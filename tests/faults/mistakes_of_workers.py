"""Mistakes in how a worker runs handlers, for tests/faults/bugs.py: each wraps or replaces a method in this process."""

from __future__ import annotations

import asyncio
from contextvars import Context

from jobplane.outcome import Outcome
from jobplane.worker import executor
from jobplane.worker.runner import Runner, _Job
from jobplane.worker.slots import Running


def one_task_for_all_jobs() -> None:
    """What runs jobs runs the next one in the same task."""
    run = Runner._run

    async def one_after_the_other(self: Runner, job: _Job) -> None:
        task = job.task or asyncio.current_task()
        assert task is not None
        while True:
            self._tasks.add(task)  # it keeps its slot, so no other task is started for it
            if self._slots.waiting:
                await run(self, job)
            else:
                await asyncio.sleep(0.001)

    Runner._run = one_after_the_other  # type: ignore[method-assign]


def result_taken_for_the_end() -> None:
    """Whatever a handler returns is its result, also what would have to be awaited."""

    async def ended(result: object, context: Context) -> object:
        return None

    executor.ended = ended  # type: ignore[attr-defined]


def thread_left_alone() -> None:
    """The outcome of a handler that was given up is written while its thread goes on."""

    async def outcome_apart(outcome: Outcome, running: Running, ended: asyncio.Event) -> Outcome:
        return outcome

    executor.outcome_apart = outcome_apart  # type: ignore[attr-defined]
