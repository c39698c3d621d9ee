"""Every error that jobplane raises on purpose.

JobplaneError
├── InvalidInputError            a value is outside its limit; nothing was written
│   └── InvalidArgumentsError    a task's arguments do not fit its signature
├── ConfigurationError           a setting is missing, malformed or contradicts another
├── EmbeddedServerError          the embedded PostgreSQL could not be started or stopped
├── UnsupportedConnectionError   the caller's connection is of a kind (or colour) we cannot use
├── TaskDefinitionError          a handler cannot become a task
├── JobNotFoundError             no job has this id
├── ScheduleNotFoundError        no schedule has this name
├── JobStateError                the job's status does not allow the request
│   ├── AttemptsExhaustedError   a retry needs more attempts granted
│   └── UniqueKeyTakenError      another unfinished job holds the unique key
├── WaitTimeoutError             the job was not finished in the time given
├── DatabaseError                the server refused or could not be reached; the cause is kept
│   ├── DatabaseUnavailableError
│   │   └── OutcomeUnknownError  a change was sent, and no answer says whether it was done
│   ├── ReadOnlyDatabaseError
│   ├── NotReplicatedError       written on the primary; whether a standby has it is not known
│   ├── SchemaError              tables are missing, or are newer than this code
│   └── StatementError           the statement itself was refused
│       └── JobsExistError       enqueue_many wrote nothing: a job of the batch is there already
├── ForkedProcessError           a forked child goes on in a call or an event loop of its parent
└── MigrationError               a migration cannot be applied safely
"""

from __future__ import annotations


class JobplaneError(Exception):
    """Something jobplane was asked to do could not be done."""


class InvalidInputError(JobplaneError, ValueError):
    """A value is outside its limit. Nothing was written.

    Attributes:
        field: the name of the argument.
        value: a short, printable form of what was given.
        limit: the rule that it breaks.
    """

    def __init__(self, field: str, value: object, limit: str) -> None:
        self.field = field
        self.value = shown(value)
        self.limit = limit
        super().__init__(f"{field} {limit}; got {self.value}")


class InvalidArgumentsError(InvalidInputError):
    """A task's arguments do not fit its signature."""


class ConfigurationError(JobplaneError):
    """A setting is missing, malformed or contradicts another."""


class EmbeddedServerError(JobplaneError):
    """The embedded PostgreSQL could not be started or stopped."""


class UnsupportedConnectionError(JobplaneError, TypeError):
    """The caller's connection is of a kind that jobplane cannot enqueue with."""


class TaskDefinitionError(JobplaneError, TypeError):
    """A handler cannot become a task, or two tasks claim one name."""


class JobNotFoundError(JobplaneError, LookupError):
    """No job has this id."""


class ScheduleNotFoundError(JobplaneError, LookupError):
    """No schedule has this name."""


class JobStateError(JobplaneError):
    """The job's status does not allow the request."""


class AttemptsExhaustedError(JobStateError):
    """A retry of this job needs more attempts, granted with extra_attempts."""


class UniqueKeyTakenError(JobStateError):
    """Another unfinished job holds the same unique key."""


class WaitTimeoutError(JobplaneError, TimeoutError):
    """The job did not reach a terminal status in the time given."""


class DatabaseError(JobplaneError):
    """PostgreSQL refused or could not be reached; __cause__ is the driver's error."""


class DatabaseUnavailableError(DatabaseError):
    """No usable connection within the time allowed."""


class OutcomeUnknownError(DatabaseUnavailableError):
    """A change was sent, but its answer was lost and the server could not be asked again: it may have been done.

    Every other DatabaseUnavailableError means that nothing was changed. What to do: look (`get_job`, `list_queues`,
    `list_schedules`), or call again where that does no harm. An enqueue with the same idempotency key, or of the same
    NewJob, makes no second job; `enqueue_many` of the same jobs writes all of them or raises JobsExistError.
    """


class ReadOnlyDatabaseError(DatabaseError):
    """Only a read-only server (a standby) could be reached."""


class NotReplicatedError(DatabaseError):
    """The change is committed on the primary, but the wait for its synchronous standby was cut short.

    A failover now may lose it. Calling again, with the same idempotency key for an enqueue, makes no second job and
    returns once a standby has it.
    """


class SchemaError(DatabaseError):
    """jobplane's tables are missing or do not fit this version of the code."""


class StatementError(DatabaseError):
    """PostgreSQL refused a statement for a reason that a retry will not mend."""


class JobsExistError(StatementError):
    """enqueue_many wrote nothing, because the id or the unique key of one of its jobs is taken.

    Where an earlier call with the same jobs raised OutcomeUnknownError, that call wrote all of them, and there is nothing
    left to do. Otherwise `enqueue_new` writes jobs one by one, and returns those that are there already.
    """


class ForkedProcessError(JobplaneError):
    """This process was forked inside a call of its parent's client or inside its parent's event loop.

    It has none of the connections that these use. Whether the call succeeds is seen by the parent alone.
    """


class MigrationError(JobplaneError):
    """A migration cannot be applied safely."""


def shown(value: object, most: int = 80) -> str:
    """A short printable form of any value; never raises, never prints control characters."""
    try:
        text = ascii(value) if not isinstance(value, str) else ascii(value[: most + 1])
    except Exception:  # noqa: BLE001 - a value with a broken __repr__ must not hide the real error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 1] + "…"
