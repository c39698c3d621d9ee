"""How a job is enqueued: the options, and `new_job`, which checks them and makes the job as a value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, TypedDict
from uuid import UUID

from msgspec.structs import replace

from jobplane.errors import InvalidInputError
from jobplane.ids import id_from_key, new_job_id
from jobplane.job import NewJob
from jobplane.limits import (
    DEFAULT_MAX_ATTEMPTS,
    check_delay,
    check_key,
    check_max_attempts,
    check_priority,
    check_queue,
    check_scheduled_at,
    check_tags,
    check_tenant,
    check_type,
)
from jobplane.payload import encode_payload
from jobplane.retry import RetryPolicy, encode_policy


class ScheduleOptions(TypedDict, total=False):
    """How to enqueue a job whose due time is given otherwise: all of JobQueueOptions but delay and scheduled_at."""

    queue: str
    """The stream that workers subscribe to; default "default"."""
    priority: int
    """0 to 1000, higher first; default 0. Written to payload["priority"] too."""
    max_attempts: int
    """1 to 100, the first try included; default 3."""
    unique_key: str
    """At most one unfinished job has this key: the existing one is returned, flagged."""
    idempotency_key: str
    """The same key twice makes one job and returns the same one, finished or not."""
    id: UUID
    """A caller-chosen id instead of an idempotency key: giving it twice makes one job."""
    tags: Iterable[str]
    """Up to 20 words to find jobs by."""
    retry: RetryPolicy
    """Delays for this job alone, instead of its type's."""
    tenant: str
    """Whose job it is: 1 to 100 characters of A-Z, a-z, 0-9, ".", "_" and "-". Keys are each tenant's own."""


class JobQueueOptions(ScheduleOptions, total=False):
    """How to enqueue. Whatever is left out comes from the task, then the queue's client, then the default here."""

    delay: timedelta | float
    """A timedelta or seconds, 0 to 24 hours, counted by the database's clock; default 0."""
    scheduled_at: datetime
    """A timezone-aware due time instead of a delay, at most a year ahead."""


OPTION_NAMES: Final = JobQueueOptions.__optional_keys__


def new_job(type: str, payload: object, options: JobQueueOptions | None = None) -> NewJob:  # noqa: A002 - the contract's word
    """A validated wish for a job. Raises InvalidInputError for any value outside its limit."""
    if not options and isinstance(type, str):
        return like(_plain_job(type), payload)
    given = options or JobQueueOptions()
    for name in given.keys() - OPTION_NAMES:
        raise InvalidInputError("options", name, f"must be among {', '.join(sorted(OPTION_NAMES))}")
    if "delay" in given and "scheduled_at" in given:
        raise InvalidInputError("delay", given["delay"], "cannot be combined with scheduled_at")
    priority = check_priority(given["priority"]) if "priority" in given else None
    return NewJob(
        id=_id_for(given),
        fresh=given.keys().isdisjoint(("id", "idempotency_key")),
        type=check_type(type),
        payload=encode_payload(payload, priority),
        queue=check_queue(given.get("queue", "default")),
        priority=priority or 0,
        max_attempts=check_max_attempts(given.get("max_attempts", DEFAULT_MAX_ATTEMPTS)),
        delay=check_delay(given["delay"]) if "delay" in given else timedelta(0),
        scheduled_at=check_scheduled_at(given["scheduled_at"]) if "scheduled_at" in given else None,
        unique_key=check_key("unique_key", given["unique_key"]) if "unique_key" in given else None,
        tags=check_tags(given["tags"]) if "tags" in given else None,
        retry_policy=encode_policy(given["retry"]) if "retry" in given else None,
        tenant=check_tenant(given["tenant"]) if "tenant" in given else None,
        idempotency_key=given.get("idempotency_key"),
        chosen=frozenset(given),
    )


def like(template: NewJob, payload: object) -> NewJob:
    """Another job with everything of `template` but its id and payload."""
    return replace(template, id=new_job_id(), payload=encode_payload(payload), fresh=True)


@lru_cache(maxsize=1000)
def _plain_job(type: str) -> NewJob:  # noqa: A002 - the contract's word
    # Jobs of a type without options differ in id and payload alone: the type is checked once.
    return NewJob(
        id=new_job_id(),
        type=check_type(type),
        payload="{}",
        max_attempts=DEFAULT_MAX_ATTEMPTS,
        chosen=frozenset(),
    )


def with_defaults(defaults: JobQueueOptions, options: JobQueueOptions) -> JobQueueOptions:
    """Options, filled up with defaults. A due time given either way replaces a default of either kind."""
    kept = dict(defaults)
    if "delay" in options or "scheduled_at" in options:
        kept = {key: value for key, value in kept.items() if key not in ("delay", "scheduled_at")}
    return JobQueueOptions(**{**kept, **options})  # type: ignore[typeddict-item]


def _id_for(options: JobQueueOptions) -> UUID:
    if "idempotency_key" not in options:
        chosen = options.get("id")
        if chosen is not None and not isinstance(chosen, UUID):
            raise InvalidInputError("id", chosen, "must be a uuid.UUID")
        return chosen or new_job_id()
    if "id" in options:
        raise InvalidInputError(
            "id", options["id"], "cannot be combined with idempotency_key: the key makes the id"
        )
    tenant = check_tenant(options["tenant"]) if "tenant" in options else None
    return id_from_key(check_key("idempotency_key", options["idempotency_key"]), tenant)
