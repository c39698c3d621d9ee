"""Whose job it is: how a client's tenant gets onto the jobs that it writes. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from jobplane.errors import InvalidInputError
from jobplane.ids import id_from_key
from jobplane.job import NewJob
from jobplane.limits import check_tenant
from jobplane.options import JobQueueOptions


def with_tenant(options: JobQueueOptions | None, tenant: str | None) -> JobQueueOptions:
    """A client's options with its tenant among them, which wins. Raises InvalidInputError."""
    settled = JobQueueOptions(**(options or {}))
    if tenant is not None:
        settled["tenant"] = tenant
    if "tenant" in settled:
        check_tenant(settled["tenant"])
    return settled


def of_tenant(job: NewJob, tenant: str | None) -> NewJob:
    """A job as a client of this tenant writes it. Raises InvalidInputError for a job of another tenant."""
    if tenant is None or job.tenant == tenant:
        return job
    if job.tenant is not None:
        raise InvalidInputError("tenant", job.tenant, f"must be the client's own, {tenant!r}, or left out")
    key = job.idempotency_key
    return replace(job, tenant=tenant, id=job.id if key is None else id_from_key(key, tenant))
