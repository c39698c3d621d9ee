"""Enqueueing as an operation: each wish becomes a job, or finds the one that is there already (I2, I15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from jobplane.client.ops import wake
from jobplane.client.steps import Pause, Query, Steps
from jobplane.errors import DatabaseUnavailableError, InvalidInputError, shown
from jobplane.job import TERMINAL, EnqueueJobResult, NewJob
from jobplane.sql import SQLValue
from jobplane.store.rows import as_uuid, columns_of, parameters_of, result_of

INSERT_TRIES: Final = 20
PATIENT_TRIES: Final = 3
"""So many without a pause: then keys that change hands quickly get a moment."""


def insert(jobs: Sequence[NewJob]) -> Steps[list[EnqueueJobResult]]:
    """Write jobs, answering in their order. A job that is there already is returned instead, flagged."""
    results: dict[UUID, EnqueueJobResult] = {}
    leaders = jobs if len(jobs) == 1 else _leaders(jobs)
    missing = [job for job, leader in zip(jobs, leaders, strict=True) if job is leader]
    distinct = len(missing) == len(jobs)
    for number in range(INSERT_TRIES):
        if number >= PATIENT_TRIES:
            yield Pause(0.005 * number)
        if len(missing) == 1:
            rows = yield Query("job/insert", parameters_of(missing[0]))
        else:
            rows = yield Query("job/insert_many", columns_of(missing))
        for row in rows:
            result = result_of(row, existing=False)
            results[result.id] = result
        missing = [job for job in missing if job.id not in results]
        if missing:
            yield from _find_twins(missing, results)
            # What stood in the way may have ended between the two statements: then there is room now.
            missing = [job for job in missing if job.id not in results]
        if not missing and distinct:
            return [results[job.id] for job in jobs]
        if not missing:
            return (yield from _with_followers(jobs, leaders, results))
    raise DatabaseUnavailableError(
        f"unique key {shown(missing[0].unique_key)} changed hands {INSERT_TRIES} times while it was enqueued; try again"
    )


def _leaders(jobs: Sequence[NewJob]) -> list[NewJob]:
    # Of several wishes with one id or one unique key the first is written, and the others follow it.
    by_id: dict[UUID, NewJob] = {}
    by_key: dict[tuple[object, object], NewJob] = {}
    leaders = []
    for job in jobs:
        key = (job.tenant, job.unique_key)
        leader = by_id.get(job.id) or (by_key.get(key) if job.unique_key else None) or job
        by_id.setdefault(job.id, leader)
        if job.unique_key:
            by_key.setdefault(key, leader)
        leaders.append(leader)
    return leaders


def _find_twins(missing: Sequence[NewJob], results: dict[UUID, EnqueueJobResult]) -> Steps[None]:
    ids: list[SQLValue] = [str(job.id) for job in missing]
    keys: list[SQLValue] = [job.unique_key for job in missing if job.unique_key]
    tenants: list[SQLValue] = list({job.tenant for job in missing if job.tenant})
    if tenants:
        args: dict[str, SQLValue] = {"ids": ids, "unique_keys": keys, "tenants": tenants}
        twins = yield Query("job/find_tenants_twins", args)
    else:
        twins = yield Query("job/find_twins", {"ids": ids, "unique_keys": keys})
    by_id = {as_uuid(row["id"]): row for row in twins}
    by_key = {(row["tenant"], row["unique_key"]): row for row in twins if row["status"] not in TERMINAL}
    for job in missing:
        twin = by_id.get(job.id)
        if twin is not None and twin["tenant"] != job.tenant:
            # Not even its status is theirs to know.
            raise InvalidInputError("id", job.id, "must be new: a job of another tenant has it")
        twin = twin or (by_key.get((job.tenant, job.unique_key)) if job.unique_key else None)
        if twin is not None:
            results[job.id] = result_of(twin, existing=True)


def _with_followers(
    jobs: Sequence[NewJob], leaders: Sequence[NewJob], results: Mapping[UUID, EnqueueJobResult]
) -> Steps[list[EnqueueJobResult]]:
    pairs = list(zip(jobs, leaders, strict=True))
    # A leader whose id exists already may have ended long ago: then the key that others share with it is free.
    alone = [job for job, leader in pairs if job.id != leader.id and results[leader.id].status in TERMINAL]
    own = dict(zip(map(id, alone), (yield from insert(alone)) if alone else (), strict=True))
    return [
        results[leader.id]
        if job is leader
        else own.get(id(job)) or replace(results[leader.id], existing=True)
        for job, leader in pairs
    ]


def insert_in_transaction(
    jobs: Sequence[NewJob], schema: str, *, notify: bool
) -> Steps[list[EnqueueJobResult]]:
    """Write jobs inside the caller's transaction; the wake-up is sent when that commits."""
    results = yield from insert(jobs)
    if notify:
        yield from wake({job.queue for job in jobs}, schema)
    return results
