"""What fills the options that a call leaves out: those of the job's task, where the client knows it, then the client's.

One place for every way in, in both colours: by type, by task, by value, one by one and in bulk, and for schedules.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Final, TypeAlias, cast, overload

from msgspec.structs import replace

from jobplane.errors import InvalidInputError
from jobplane.job import NewJob
from jobplane.options import JobQueueOptions, new_job
from jobplane.payload import with_priority
from jobplane.schedule import RecurringOptions
from jobplane.task import Registry
from jobplane.tenant import of_tenant, with_tenant

AnyJobs: TypeAlias = Iterable[NewJob] | AsyncIterable[NewJob]
_FIELDS: Final = {
    "queue": "queue",
    "priority": "priority",
    "max_attempts": "max_attempts",
    "delay": "delay",
    "scheduled_at": "scheduled_at",
    "unique_key": "unique_key",
    "tags": "tags",
    "retry": "retry_policy",
}
"""The options that a client may have for all its jobs, and the fields of NewJob that hold them."""
_DUE: Final = frozenset({"delay", "scheduled_at"})
_OF_ONE_JOB: Final = ("id", "idempotency_key")


class OptionDefaults:
    """The options of one client, and the tasks that it knows.

    Args:
        options: the client's own options.
        tenant: the client's tenant, which wins over one among the options.
        registry: the tasks whose options apply to jobs that are made by their type.

    Raises InvalidInputError for an option outside its limit, and for `id` and `idempotency_key`, which make one job.
    """

    def __init__(self, options: JobQueueOptions | None, tenant: str | None, registry: Registry) -> None:
        self.options = with_tenant(options, tenant)
        self.tenant = self.options.get("tenant")
        for name in _OF_ONE_JOB:
            if name in self.options:
                raise InvalidInputError(
                    "options", name, "of a client must not name one job: give it to enqueue"
                )
        self._registry = registry
        self._template = new_job("any", {}, self.options)  # checks each of them, once
        self._names = self.options.keys() & _FIELDS.keys()

    def job(self, type: str, payload: object, options: JobQueueOptions) -> NewJob:  # noqa: A002 - the contract's word
        """A job made by its type, under the options of its task. `fill` adds the client's. Raises InvalidInputError."""
        task = self._registry.find(type)
        given = {} if payload is None else payload
        return new_job(type, given, options) if task is None else task.new_from(given, options)

    def fill(self, job: NewJob) -> NewJob:
        """A job with the client's options where neither its call nor its task chose others, and of the client's tenant.

        Raises InvalidInputError for a job of another tenant.
        """
        return of_tenant(self._filled(job) if self._names else job, self.tenant)

    @overload
    def fill_all(self, jobs: Iterable[NewJob]) -> Iterable[NewJob]: ...
    @overload
    def fill_all(self, jobs: AnyJobs) -> AnyJobs: ...
    def fill_all(self, jobs: AnyJobs) -> AnyJobs:
        """Like `fill`, for jobs as they come."""
        if not self.options:
            return jobs
        if isinstance(jobs, AsyncIterable):
            return (self.fill(job) async for job in jobs)
        return map(self.fill, jobs)

    def recurring(self, type: str, options: RecurringOptions) -> RecurringOptions:  # noqa: A002 - as above
        """The options of a schedule's jobs. A due time of the client or the task concerns single jobs, and is left out."""
        task = self._registry.find(type)
        known = RecurringOptions.__optional_keys__
        settled = {name: value for name, value in self.options.items() if name in known}
        of_call: dict[str, object] = dict(options)
        if task is not None:
            if task.settings.retry is not None:
                settled.pop("retry", None)
            under = task.options_under(cast("JobQueueOptions", options))
            # What the caller gave is checked, whatever it is.
            of_call = {name: value for name, value in under.items() if name in known or name in options}
        return cast("RecurringOptions", {**settled, **of_call})

    def _filled(self, job: NewJob) -> NewJob:
        chosen = job.chosen
        if chosen is None:
            return job
        left_out = self._names - chosen
        if not chosen.isdisjoint(_DUE):
            left_out -= _DUE  # one way to say when a job is due replaces the other
        if not left_out:
            return job
        values = {_FIELDS[name]: getattr(self._template, _FIELDS[name]) for name in left_out}
        if "priority" in left_out:
            values["payload"] = with_priority(job.payload, self._template.priority)
        return replace(job, chosen=chosen | left_out, **values)
