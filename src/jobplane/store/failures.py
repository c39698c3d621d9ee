"""What an error of the driver means: whether to try again, how, and what to tell the caller.

| reaction  | SQLSTATE, event                                              | what to do                              |
|-----------|--------------------------------------------------------------|-----------------------------------------|
| RETRY     | 40001 serialization, 40P01 deadlock, 55P03 lock timeout      | again on the same connection, with jitter |
| RECONNECT | 08xxx, 57P01-57P03 and 55000 shutdown or start, 25006 read-only, 25P03 idle, closed, timeout | drop the connection, then again         |
| BACK_OFF  | 53xxx disk, memory, connections; 57014 cancelled             | wait longer, then again                 |
| DEPLOY    | 42xxx, 3F000: the schema does not fit the code               | stop and say so                         |
| FATAL     | 28xxx login, 3D000 no such database, all else                | raise                                   |

The driver's classes are not imported: asyncpg and psycopg both carry the SQLSTATE as `sqlstate`.
"""

from __future__ import annotations

from enum import Enum

from jobplane.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    JobsExistError,
    OutcomeUnknownError,
    ReadOnlyDatabaseError,
    SchemaError,
    StatementError,
)
from jobplane.redaction import redacted, without_odd_names


class Reaction(Enum):
    """What to do about a driver's error."""

    RETRY = "retry"
    RECONNECT = "reconnect"
    BACK_OFF = "back off"
    DEPLOY = "deploy"
    FATAL = "fatal"


_RETRY = {"40001", "40P01", "55P03"}
_RECONNECT = {"57P01", "57P02", "57P03", "57P05", "25006", "25P03", "55000"}
_CLOSED = (
    "InterfaceError",
    "ConnectionDoesNotExistError",
    "InternalClientError",
    "OperationalError",
    "PoolTimeout",
    "TargetServerAttributeNotMatched",  # of several hosts, the one that answers is a standby: until it is promoted
)


def sqlstate_of(error: BaseException) -> str | None:
    """The five characters of PostgreSQL, or None where the server did not speak."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def reaction_to(error: BaseException) -> Reaction:
    """The row of the table above for an exception of any driver."""
    state = sqlstate_of(error)
    if state is None:
        closed = isinstance(error, OSError | TimeoutError | EOFError) or type(error).__name__ in _CLOSED
        return Reaction.RECONNECT if closed else Reaction.FATAL
    if state in _RETRY:
        return Reaction.RETRY
    if state in _RECONNECT or state.startswith("08"):
        return Reaction.RECONNECT
    if state.startswith("53") or state == "57014":
        return Reaction.BACK_OFF
    if state.startswith("42") or state == "3F000":
        return Reaction.DEPLOY
    return Reaction.FATAL


def translated(error: BaseException, doing: str) -> DatabaseError:
    """The error of jobplane for a driver's, to be raised `from` it. `doing` names the statement."""
    state = sqlstate_of(error)
    message = f"{doing}: {_words_of(error)}" + (f" (SQLSTATE {state})" if state else "")
    if state == "25006":
        return ReadOnlyDatabaseError(
            f"{message}. The server is a read-only standby: point DATABASE_URL at the primary."
        )
    if state in ("28P01", "28000", "3D000"):
        return DatabaseUnavailableError(
            f"{message}. Check user, password and database name: jobplane doctor shows them."
        )
    if state in ("26000", "42P05"):
        return StatementError(
            f"{message}. Is there a pooler in transaction mode? Then set JOBPLANE_PREPARED_STATEMENTS=false."
        )
    match reaction_to(error):
        case Reaction.RECONNECT | Reaction.BACK_OFF:
            return DatabaseUnavailableError(
                f"{message}. Is PostgreSQL running there? jobplane doctor shows the settings."
            )
        case Reaction.DEPLOY if state in ("42P01", "3F000", "42703", "42883"):
            return SchemaError(f"{message}. The tables do not fit this version: run jobplane migrate up.")
        case Reaction.DEPLOY if state == "42501":
            return StatementError(
                f"{message}. The role lacks this right, or row security hides the row from its tenant: jobplane doctor "
                "shows what the role may do."
            )
        case _:
            return StatementError(message)


def may_have_been_done(error: BaseException) -> bool:
    """Whether a statement may have been done although it ended with this error: no answer came, or a goodbye.

    A server that says anything else has undone the statement.
    """
    state = sqlstate_of(error)
    if state is None:
        return reaction_to(error) is Reaction.RECONNECT
    return state.startswith(("08", "57P")) or state == "40003"


def outcome_unknown(error: DatabaseError) -> DatabaseError:
    """The error for a change that may have been done, where no more is known than this one says; others stay as they are."""
    if not isinstance(error, DatabaseUnavailableError | ReadOnlyDatabaseError):
        return error
    return OutcomeUnknownError(
        f"{error} It is not known whether the change was made: the answer to an earlier try was lost. Look what is there "
        "before you call again."
    )


def translated_bulk(error: BaseException, doing: str) -> DatabaseError:
    """As `translated`, for many jobs at once, which all fail where one of them is there already."""
    known = translated(error, doing)
    return jobs_exist(str(known)) if sqlstate_of(error) == "23505" else known


def jobs_exist(words: str) -> JobsExistError:
    """The error for many jobs of which one is there already."""
    return JobsExistError(
        f"{words}. Nothing was written. If an earlier call with the same jobs raised OutcomeUnknownError, that one wrote all "
        "of them. Otherwise use enqueue_new(), which returns a job that is there."
    )


def presentable(error: Exception) -> Exception | None:
    """The driver's error as the cause of ours; None where a traceback would show what `_words_of` leaves out."""
    text = str(error)
    return error if without_odd_names(text) == text else None


def _words_of(error: BaseException) -> str:
    # Message and hint, without the DETAIL: that may quote the row, and with it the payload.
    if sqlstate_of(error) is None:
        return redacted(without_odd_names(str(error))) or type(error).__name__
    told = getattr(error, "diag", error)  # psycopg keeps the parts there, asyncpg on the error itself
    primary = getattr(told, "message_primary", None) or (error.args[0] if error.args else "")
    hint = getattr(told, "message_hint", None) or getattr(told, "hint", None)
    words = redacted(without_odd_names(str(primary))) or type(error).__name__
    return f"{words}\nHINT:  {hint}" if hint else words


def is_lock_conflict(error: DatabaseError) -> bool:
    """Whether an error was caused by another session's lock, which will be gone at some time."""
    return error.__cause__ is not None and reaction_to(error.__cause__) is Reaction.RETRY


def is_unique_violation(error: DatabaseError) -> bool:
    """Whether an error was caused by a unique index."""
    return error.__cause__ is not None and sqlstate_of(error.__cause__) == "23505"
