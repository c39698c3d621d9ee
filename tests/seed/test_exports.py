"""The seed's export verification: each name is importable from the package itself, and is what it says."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

import jobplane

VALUES = ["JobQueue", "enqueue_job", "schedule_job", "get_job"]
TYPES = ["JobQueueOptions", "EnqueueJobResult", "Job", "JobType", "JobPayload", "JobStatus"]


@pytest.mark.parametrize("name", VALUES + TYPES)
def test_the_name_is_exported(name: str) -> None:
    assert name in jobplane.__all__
    assert getattr(jobplane, name) is not None


def test_every_exported_name_exists() -> None:
    missing = [name for name in jobplane.__all__ if not hasattr(jobplane, name)]

    assert missing == []
    assert list(jobplane.__all__) == sorted(set(jobplane.__all__))


@pytest.mark.parametrize("name", ["enqueue_job", "schedule_job", "get_job"])
def test_the_functions_are_coroutines_like_the_methods_that_they_stand_for(name: str) -> None:
    method = name.removesuffix("_job") if name != "get_job" else name

    assert inspect.iscoroutinefunction(getattr(jobplane, name))
    assert inspect.iscoroutinefunction(getattr(jobplane.JobQueue, method))


def test_enqueue_job_result_has_the_five_fields_of_the_contract() -> None:
    fields = list(get_type_hints(jobplane.EnqueueJobResult))

    assert fields[:5] == ["id", "type", "status", "scheduled_at", "created_at"]


def test_a_job_has_the_eleven_fields_of_the_contract() -> None:
    fields = list(get_type_hints(jobplane.Job))

    assert fields[:11] == [
        "id",
        "type",
        "payload",
        "status",
        "attempts",
        "max_attempts",
        "last_error",
        "scheduled_at",
        "started_at",
        "completed_at",
        "created_at",
    ]


def test_the_statuses_are_the_contracts() -> None:
    assert [status.value for status in jobplane.JobStatus] == [
        "pending",
        "running",
        "completed",
        "failed",
        "cancelled",
    ]


def test_the_six_types_of_the_control_plane_are_named() -> None:
    assert {job_type.value for job_type in jobplane.JobType} == {
        "provision_project",
        "rotate_key",
        "deliver_webhook",
        "export_backup",
        "check_usage_limits",
        "auto_suspend",
    }


def test_the_options_name_delay_max_attempts_and_priority() -> None:
    assert {"delay", "max_attempts", "priority"} <= jobplane.JobQueueOptions.__optional_keys__
