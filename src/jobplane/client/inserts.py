"""Enqueueing as an operation: each wish becomes a job, or finds the one that is there already (I2, I15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast
from uuid import UUID

from jobplane.client.ops import wake
from jobplane.client.steps import Pause, Query, Steps
from jobplane.errors import DatabaseUnavailableError, InvalidInputError, StatementError, shown
from jobplane.job import TERMINAL, EnqueueJobResult, NewJob
from jobplane.sql import SQLValue
from jobplane.store.doubt import Doubt
from jobplane.store.failures import is_unique_violation, jobs_exist, outcome_unknown
from jobplane.store.rows import (
    as_uuid,
    columns_of,
    existing_of,
    id_in,
    parameters_of,
    plain_parameters_of,
    written_of,
)

INSERT_TRIES: Final = 20
PATIENT_TRIES: Final = 3
"""So many without a pause: then keys that change hands quickly get a moment."""


def insert_of_our_own(jobs: Sequence[NewJob], doubt: Doubt | None = None) -> Steps[list[EnqueueJobResult]]:
    """Like `insert`, on connections of our own, where a failed statement aborts no transaction of a caller's.

    A plain job takes the cheaper INSERT. `doubt`: of earlier tries to write the same jobs; default: there were none.
    """
    doubt = doubt or Doubt()
    if len(jobs) == 1 and jobs[0].is_plain:
        try:
            (row,) = yield Query("job/insert_fresh", plain_parameters_of(jobs[0]), doubt)
        except StatementError as error:
            if not is_unique_violation(error):
                raise
            # It is there: by a try whose answer was lost, or because it was given twice.
        else:
            return [written_of(row, jobs[0])]
    return (yield from insert(jobs, doubt))


def insert(jobs: Sequence[NewJob], doubt: Doubt | None = None) -> Steps[list[EnqueueJobResult]]:
    """Write jobs, answering in their order, as if each were written after the one before it.

    A job that is there already is returned instead, flagged; but for one that was made by an earlier try of this call,
    as far as can be told: it has the id, and has been there for no longer than the call (see `doubt`).
    """
    doubt = doubt or Doubt()
    if len(jobs) == 1:
        return list((yield from _insert_distinct(jobs, doubt)).values())
    # By place, since one and the same wish may stand in two places.
    leaders: dict[UUID, int] = {}
    for place, job in enumerate(jobs):
        leaders.setdefault(job.id, place)
    results = yield from _insert_distinct([jobs[place] for place in leaders.values()], doubt)
    if len(leaders) == len(jobs):
        return [results[job.id] for job in jobs]
    followers = [place for place, job in enumerate(jobs) if leaders[job.id] != place]
    # A leader that found another job by its unique key was not written: its id is free for the next.
    alone = [place for place in followers if results[jobs[place].id].id != jobs[place].id]
    written = (yield from insert([jobs[place] for place in alone], doubt)) if alone else ()
    own = dict(zip(alone, written, strict=True))
    return [
        results[job.id]
        if leaders[job.id] == place
        else own.get(place) or replace(results[job.id], existing=True)
        for place, job in enumerate(jobs)
    ]


def insert_new(jobs: Sequence[NewJob]) -> Steps[list[EnqueueJobResult]]:
    """As `insert`, where none may be there already, as with COPY. Raises JobsExistError."""
    results = yield from insert(jobs)
    for job, result in zip(jobs, results, strict=True):
        if result.existing:
            raise jobs_exist(
                f"enqueue_many: the {'id' if result.id == job.id else 'unique key'} of job {job.id} is taken"
            )
    return results


def _insert_distinct(jobs: Sequence[NewJob], doubt: Doubt) -> Steps[dict[UUID, EnqueueJobResult]]:
    # Ids are distinct. Unique keys need not be: the first with a key is written, and the others find it, or the older
    # job that has their id.
    results: dict[UUID, EnqueueJobResult] = {}
    missing = sorted(jobs, key=_place) if len(jobs) > 1 else jobs
    number = 0
    while number < INSERT_TRIES:
        if number >= PATIENT_TRIES:
            yield Pause(0.005 * number)
        before = len(missing)
        if len(missing) == 1:
            rows = yield Query("job/insert", parameters_of(missing[0]), doubt)
        else:
            rows = yield Query("job/insert_many", columns_of(missing), doubt)
        asked = {job.id: job for job in missing}
        for row in rows:
            job = asked[id_in(row)]
            results[job.id] = written_of(row, job)
        missing = [job for job in missing if job.id not in results]
        if missing:
            doubt.partly_written = doubt.partly_written or bool(results)
            yield from _find_twins(missing, results, doubt)
            # What stood in the way may have ended between the two statements: then there is room now.
            missing = [job for job in missing if job.id not in results]
        if not missing:
            return results
        # Of many wishes with one key each round may write but one: only rounds that bring nothing count.
        number = number + 1 if len(missing) == before else 0
    gave_up = DatabaseUnavailableError(
        f"unique key {shown(missing[0].unique_key)} changed hands {INSERT_TRIES} times while it was enqueued; try again"
    )
    raise outcome_unknown(gave_up) if doubt.is_open else gave_up


def _find_twins(
    missing: Sequence[NewJob], results: dict[UUID, EnqueueJobResult], doubt: Doubt
) -> Steps[None]:
    ids: list[SQLValue] = [str(job.id) for job in missing]
    keys: list[SQLValue] = [job.unique_key for job in missing if job.unique_key]
    tenants: list[SQLValue] = list({job.tenant for job in missing if job.tenant})
    if tenants:
        args: dict[str, SQLValue] = {"ids": ids, "unique_keys": keys, "tenants": tenants}
        twins = yield Query("job/find_tenants_twins", args, doubt.for_reading())
    else:
        twins = yield Query("job/find_twins", {"ids": ids, "unique_keys": keys}, doubt.for_reading())
    by_id = {as_uuid(row["id"]): row for row in twins}
    by_key = {(row["tenant"], row["unique_key"]): row for row in twins if row["status"] not in TERMINAL}
    for job in missing:
        twin = by_id.get(job.id)
        if twin is not None and twin["tenant"] != job.tenant:
            # Not even its status is theirs to know.
            raise InvalidInputError("id", job.id, "must be new: a job of another tenant has it")
        if twin is not None:
            ours = doubt.covers(cast("float", twin["age"]))
            results[job.id] = replace(existing_of(twin), existing=not ours)
        elif job.unique_key and (holder := by_key.get((job.tenant, job.unique_key))) is not None:
            results[job.id] = existing_of(holder)


def _place(job: NewJob) -> tuple[str, str, int]:
    # Two statements with the same keys in different orders would wait for each other. Of one key, the first stays first.
    return (job.unique_key, job.tenant or "", 0) if job.unique_key else ("", "", job.id.int)


def insert_in_transaction(
    jobs: Sequence[NewJob], schema: str, *, notify: bool
) -> Steps[list[EnqueueJobResult]]:
    """Write jobs inside the caller's transaction; the wake-up is sent when that commits."""
    results = yield from insert(jobs)
    if notify:
        yield from wake({job.queue for job in jobs}, schema)
    return results
