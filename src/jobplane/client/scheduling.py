"""The clients' verbs for schedules, in both colours. What each does is in jobplane.client.schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar, Unpack

from jobplane.client import schedules
from jobplane.client.base import Client
from jobplane.client.info import ScheduleChange, ScheduleInfo
from jobplane.client.steps import Steps
from jobplane.job import EnqueueJobResult, JobPayload
from jobplane.schedule import DEFAULT_CAP, Missed, NewSchedule, RecurringOptions, new_schedule

T = TypeVar("T")


class _Scheduling(Client, ABC):
    """What both colours need of their client."""

    @abstractmethod
    def _wake(self, word: str) -> None: ...

    def _wish(
        self,
        name: str,
        cron: str,
        type: str,  # noqa: A002 - the contract's word
        payload: JobPayload | None,
        timezone: str,
        missed: Missed | str,
        missed_cap: int,
        options: RecurringOptions,
    ) -> NewSchedule:
        return new_schedule(
            name,
            cron,
            type,
            payload,
            timezone=timezone,
            missed=missed,
            missed_cap=missed_cap,
            options=self._defaults.recurring(type, options),
        )


class AsyncScheduling(_Scheduling):
    """Schedules, for JobQueue."""

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T: ...

    async def create_schedule(
        self,
        name: str,
        cron: str,
        type: str,  # noqa: A002 - the contract's word
        payload: JobPayload | None = None,
        *,
        timezone: str = "UTC",
        missed: Missed | str = Missed.LATEST,
        missed_cap: int = DEFAULT_CAP,
        **options: Unpack[RecurringOptions],
    ) -> ScheduleChange:
        """Let jobs be made again and again; a schedule of this name becomes this one. Says whether that changed it.

        Args:
            name: 1 to 100 characters of A-Z, a-z, 0-9, "_" and "-".
            cron: five fields, a nickname such as @daily, or @every with 1s to 24h.
            type: what its jobs do.
            payload: of each job; default {}.
            timezone: where its hours and days are meant, a name of the IANA database; default UTC.
            missed: what becomes of ticks that nobody made for more than 30 seconds: "skip", "latest" (the default)
                or "all".
            missed_cap: with "all", at most so many, the last ones; 1 to 1000, default 100.
            options: queue, priority, max_attempts, unique_key, tags and retry of its jobs. What is left out comes from
                the task of this type, where this queue has it, then from the client.

        Raises InvalidInputError for a value outside its limit; nothing was written.
        """
        wish = self._wish(name, cron, type, payload, timezone, missed, missed_cap, options)
        return await self._run(schedules.put_schedule(wish))

    async def list_schedules(self) -> list[ScheduleInfo]:
        """All schedules, by name, with their last and next ticks."""
        return await self._run(schedules.list_schedules())

    async def pause_schedule(self, name: str) -> None:
        """Make no further jobs of a schedule. Raises ScheduleNotFoundError."""
        await self._run(schedules.pause_schedule(name))

    async def resume_schedule(self, name: str) -> None:
        """Make its jobs again, from now on: the ticks of the pause are not made up. Raises ScheduleNotFoundError."""
        await self._run(schedules.resume_schedule(name))

    async def delete_schedule(self, name: str) -> None:
        """Forget a schedule; the jobs that it made stay. Raises ScheduleNotFoundError."""
        await self._run(schedules.delete_schedule(name))

    async def run_schedule(self, name: str) -> EnqueueJobResult:
        """Make one job of a schedule now, whatever its ticks, also while it is paused. Raises ScheduleNotFoundError."""
        result, queue = await self._run(schedules.run_schedule(name))
        self._wake(queue)
        return result


class SyncScheduling(_Scheduling):
    """Schedules, for SyncJobQueue."""

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T: ...

    def create_schedule(
        self,
        name: str,
        cron: str,
        type: str,  # noqa: A002 - the contract's word
        payload: JobPayload | None = None,
        *,
        timezone: str = "UTC",
        missed: Missed | str = Missed.LATEST,
        missed_cap: int = DEFAULT_CAP,
        **options: Unpack[RecurringOptions],
    ) -> ScheduleChange:
        """Let jobs be made again and again; see JobQueue.create_schedule."""
        wish = self._wish(name, cron, type, payload, timezone, missed, missed_cap, options)
        return self._run(schedules.put_schedule(wish))

    def list_schedules(self) -> list[ScheduleInfo]:
        """All schedules, by name."""
        return self._run(schedules.list_schedules())

    def pause_schedule(self, name: str) -> None:
        """Make no further jobs of a schedule."""
        self._run(schedules.pause_schedule(name))

    def resume_schedule(self, name: str) -> None:
        """Make its jobs again, from now on."""
        self._run(schedules.resume_schedule(name))

    def delete_schedule(self, name: str) -> None:
        """Forget a schedule; the jobs that it made stay."""
        self._run(schedules.delete_schedule(name))

    def run_schedule(self, name: str) -> EnqueueJobResult:
        """Make one job of a schedule now; see JobQueue.run_schedule."""
        result, queue = self._run(schedules.run_schedule(name))
        self._wake(queue)
        return result
