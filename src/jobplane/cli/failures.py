"""What a script learns from a command that did not work: one line on stderr, and an exit code.

| code | meaning                                                                    |
|------|----------------------------------------------------------------------------|
| 0    | done                                                                       |
| 1    | refused or failed: the message says what to do                             |
| 2    | the command, an option, a setting or a value is not understood             |
| 3    | the database cannot be reached, or is a read-only standby                  |
| 4    | there is no such job or schedule                                           |
| 5    | the job had not ended within --timeout; it goes on                         |
| 130  | interrupted with Ctrl-C                                                    |
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

import typer

from jobplane.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    InvalidInputError,
    JobNotFoundError,
    JobplaneError,
    ReadOnlyDatabaseError,
    ScheduleNotFoundError,
    WaitTimeoutError,
)
from jobplane.observability.formatters import printable
from jobplane.store.failures import sqlstate_of, translated

T = TypeVar("T")


class ExitCode(IntEnum):
    """The table above."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NOT_FOUND = 4
    TIMED_OUT = 5
    INTERRUPTED = 130


def exit_code_of(error: JobplaneError) -> ExitCode:
    """The row of the table that an error belongs to."""
    match error:
        case InvalidInputError() | ConfigurationError():
            return ExitCode.USAGE
        case DatabaseUnavailableError() | ReadOnlyDatabaseError():
            return ExitCode.UNAVAILABLE
        case JobNotFoundError() | ScheduleNotFoundError():
            return ExitCode.NOT_FOUND
        case WaitTimeoutError():
            return ExitCode.TIMED_OUT
        case _:
            return ExitCode.REFUSED


def complain(message: object) -> None:
    """One line on stderr, whatever the message holds."""
    sys.stderr.write(f"error: {printable(str(message))}\n")


def run_async(
    command: Coroutine[object, object, T], runner: Callable[[], asyncio.Runner] = asyncio.Runner
) -> T:
    """Run a command to its end; its expected errors end the process with their exit code."""
    with expected_errors(), runner() as loop:
        return loop.run(command)


@contextmanager
def expected_errors() -> Iterator[None]:
    """Errors that jobplane raises on purpose become a line and an exit code; all others keep their traceback."""
    try:
        yield
    except JobplaneError as error:
        complain(error)
        raise typer.Exit(exit_code_of(error)) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("interrupted\n")
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except Exception as error:
        # A server may refuse what jobplane does not expect it to: its own words say more than a traceback.
        if sqlstate_of(error) is None:
            raise
        refusal = translated(error, "the server refused")
        complain(refusal)
        raise typer.Exit(exit_code_of(refusal)) from error
