"""jobplane: a job queue for Python on PostgreSQL, and nothing beside it."""

from jobplane.client.default import default_queue, enqueue_job, get_job, schedule_job, task
from jobplane.client.info import (
    CancelResult,
    JobCounts,
    JobPage,
    QueueInfo,
    ScheduleChange,
    ScheduleInfo,
    Unclaimable,
    WorkerInfo,
)
from jobplane.client.queue import JobQueue
from jobplane.client.sync import SyncJobQueue
from jobplane.client.tasks import Task
from jobplane.context import JobCancelledError, JobContext, current_job_id
from jobplane.errors import (
    AttemptsExhaustedError,
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    ForkedProcessError,
    InvalidArgumentsError,
    InvalidInputError,
    JobNotFoundError,
    JobplaneError,
    JobsExistError,
    JobStateError,
    MigrationError,
    NotReplicatedError,
    OutcomeUnknownError,
    ReadOnlyDatabaseError,
    ScheduleNotFoundError,
    SchemaError,
    TaskDefinitionError,
    UniqueKeyTakenError,
    UnsupportedConnectionError,
    WaitTimeoutError,
)
from jobplane.job import Attempt, EnqueueJobResult, Job, JobPayload, JobStatus, JobType, JSONValue, NewJob
from jobplane.options import JobQueueOptions, new_job
from jobplane.outcome import Cancel, Fail, Retry, Snooze
from jobplane.retry import Exponential, Fixed, Linear, Listed, RetryPolicy
from jobplane.schedule import Missed
from jobplane.settings import DatabaseSettings, WorkerSettings
from jobplane.task import Registry
from jobplane.version import __version__
from jobplane.worker.worker import Worker

__all__ = [
    "Attempt",
    "AttemptsExhaustedError",
    "Cancel",
    "CancelResult",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseSettings",
    "DatabaseUnavailableError",
    "EnqueueJobResult",
    "Exponential",
    "Fail",
    "Fixed",
    "ForkedProcessError",
    "InvalidArgumentsError",
    "InvalidInputError",
    "JSONValue",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobCounts",
    "JobNotFoundError",
    "JobPage",
    "JobPayload",
    "JobQueue",
    "JobQueueOptions",
    "JobStateError",
    "JobStatus",
    "JobType",
    "JobplaneError",
    "JobsExistError",
    "Linear",
    "Listed",
    "MigrationError",
    "Missed",
    "NewJob",
    "NotReplicatedError",
    "OutcomeUnknownError",
    "QueueInfo",
    "ReadOnlyDatabaseError",
    "Registry",
    "Retry",
    "RetryPolicy",
    "ScheduleChange",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "SchemaError",
    "Snooze",
    "SyncJobQueue",
    "Task",
    "TaskDefinitionError",
    "Unclaimable",
    "UniqueKeyTakenError",
    "UnsupportedConnectionError",
    "WaitTimeoutError",
    "Worker",
    "WorkerInfo",
    "WorkerSettings",
    "__version__",
    "current_job_id",
    "default_queue",
    "enqueue_job",
    "get_job",
    "new_job",
    "schedule_job",
    "task",
]
