"""`jobplane enqueue`: write a job, and wait for it if asked."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from jobplane.cli.failures import expected_errors, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema
from jobplane.cli.output import print_json
from jobplane.cli.present import moment, timestamp
from jobplane.cli.targets import TasksFrom, client_for
from jobplane.cli.waiting import conclude, wait_for
from jobplane.errors import InvalidInputError, shown
from jobplane.job import EnqueueJobResult, Job, JobPayload
from jobplane.limits import as_timedelta
from jobplane.options import JobQueueOptions
from jobplane.payload import TOO_DEEP, nests_too_deep

_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS: Final = {None: 1, "s": 1, "m": 60, "h": 3600}


def enqueue(  # noqa: PLR0913 - each option of a job is one here
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="What to do.", show_default=False)],
    payload: Annotated[
        str,
        typer.Argument(
            metavar="PAYLOAD",
            help="A JSON object; @FILE reads it from a file, - from stdin.",
            show_default=False,
        ),
    ] = "{}",
    *,
    delay: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH", help="Due after so long: 90, 90s, 15m, 2h; at most 24h.", show_default=False
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Due at an ISO time with its offset, as 2026-01-31T12:00:00Z.",
            show_default=False,
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="0 to 1000, higher first; default 0.", show_default=False)
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The stream of jobs; default: default.", show_default=False),
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(metavar="N", help="1 to 100, the first try included; default 3.", show_default=False),
    ] = None,
    unique_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="At most one unfinished job has this key.", show_default=False),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="The same key twice makes one job, finished or not.", show_default=False
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A word to find the job by; may be repeated.", show_default=False),
    ] = None,
    tasks: TasksFrom = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, with its progress.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="With --wait: give up after so long.", show_default=False),
    ] = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    as_json: AsJSON = False,
) -> None:
    """Write a job. Its id is what stdout gets.

    With --wait the exit code is 0 when it completed, and 1 when it failed or was cancelled.
    """
    with expected_errors():
        document = payload_of(payload)
        options = _options_of(
            delay=None if delay is None else _length_of(delay),
            scheduled_at=None if at is None else _time_of(at),
            priority=priority,
            queue=queue,
            max_attempts=max_attempts,
            unique_key=unique_key,
            idempotency_key=idempotency_key,
            tags=tuple(tag) if tag else None,
        )

        queue_of_tasks = client_for(tasks, database_url, schema)

    async def command() -> tuple[EnqueueJobResult, Job | None]:
        async with queue_of_tasks as client:
            made = await client.enqueue(job_type, document, **options)
            if not wait:
                return made, None
            _announce(made, quiet=as_json)
            return made, await wait_for(client, made.id, timeout, quiet=as_json)

    made, job = run_async(command())
    if job is not None:
        conclude(job, as_json=as_json)
    elif as_json:
        print_json(
            {
                "id": str(made.id),
                "type": made.type,
                "status": str(made.status),
                "existing": made.existing,
                "scheduled_at": timestamp(made.scheduled_at),
                "created_at": timestamp(made.created_at),
            }
        )
    else:
        _announce(made)
        typer.echo(made.id)


def _announce(made: EnqueueJobResult, *, quiet: bool = False) -> None:
    if quiet:
        return
    verb = "exists already, nothing was written:" if made.existing else "enqueued:"
    later = f", due {moment(made.scheduled_at)}" if made.scheduled_at > datetime.now(UTC) else ""
    typer.echo(f"{made.type} {made.id} {verb} {made.status}{later}", err=True)


def _options_of(**options: object) -> JobQueueOptions:
    # What was not given is left out, so that the defaults stay those of the client.
    return cast("JobQueueOptions", {name: value for name, value in options.items() if value is not None})


def payload_of(given: str) -> JobPayload:
    """A payload as typed on a command line, in a file or on stdin. Raises InvalidInputError."""
    text, source = _text_of(given)
    if nests_too_deep(text):
        raise InvalidInputError("PAYLOAD", _size_of(text), TOO_DEEP)
    try:
        document: object = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refused)
    except ValueError as error:
        raise InvalidInputError(
            "PAYLOAD", _size_of(text), f"must be a JSON object ({error} in {source})"
        ) from None
    if not isinstance(document, dict):
        raise InvalidInputError("PAYLOAD", _size_of(text), "must be a JSON object, in braces")
    return cast("JobPayload", document)


def _text_of(given: str) -> tuple[str, str]:
    """The text of a payload, and the name of the place that it is from."""
    if given == "-":
        place = "stdin"
    elif given.startswith("@"):
        place = given[1:]
    else:
        return given, "PAYLOAD"
    try:
        return sys.stdin.read() if given == "-" else Path(place).read_text(encoding="utf-8"), place
    except UnicodeDecodeError:
        raise InvalidInputError("PAYLOAD", place, "must be UTF-8") from None
    except OSError as error:
        raise InvalidInputError("PAYLOAD", place, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path, a closed stdin
        raise InvalidInputError("PAYLOAD", place, f"cannot be read: {error}") from None


def _size_of(text: str) -> str:
    # The payload itself may be private, and what is printed here ends in logs of scripts.
    return f"{len(text)} characters"


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Parsers differ on which of two equal keys counts: whoever checked the other one was shown something else.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twin)} stands twice in one object")
    return found


def _refused(name: str) -> object:
    raise ValueError(f"{name} is not a finite number")


def _length_of(text: str) -> timedelta:
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InvalidInputError("--delay", text, "must be seconds, or a number with s, m or h: 90, 15m, 2h")
    return as_timedelta(
        "--delay", float(match[1]) * _UNITS[match[2]], "must be at most 24h: give later times with --at"
    )


def _time_of(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError("--at", text, "must be an ISO time such as 2026-01-31T12:00:00Z") from None
    if when.tzinfo is None:
        raise InvalidInputError("--at", text, "must say its offset: end it with Z or +02:00")
    return when
