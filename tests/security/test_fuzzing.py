"""F33: parsers answer with a value or with their declared error, within a second, whatever the text.

Lengths of time, queue specs, cursors, retry policies, payloads, messages of errors, and the options of the command line.
JOBPLANE_FAULTS_PROFILE=long tries each with 200 times as many inputs. The cron parser has its own tests; the guard of
webhook URLs and the cursors of the HTTP API will be added here when they exist.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from jobplane import InvalidInputError, RetryPolicy
from jobplane.cli.enqueue import _length_of, _time_of, payload_of
from jobplane.cli.main import app
from jobplane.client import ops
from jobplane.errors import ConfigurationError, shown
from jobplane.failure import MAX_MESSAGE_BYTES, message_of, report_of
from jobplane.job import JobPayload
from jobplane.limits import (
    MAX_PAYLOAD_BYTES,
    check_delay,
    check_key,
    check_scheduled_at,
    check_tags,
    check_type,
)
from jobplane.options import new_job
from jobplane.payload import decode_json, decode_payload, encode_payload
from jobplane.redaction import masked
from jobplane.retry import MAX_RETRY_DELAY, decode_policy, encode_policy
from jobplane.settings import DatabaseSettings, WorkerSettings, parse_queues, resolve
from jobplane.store.rows import parameters_of
from tests.cli.commands import environment
from tests.security.support import HOSTILE, examples

TEXT: Final = st.text(alphabet=st.characters(codec=None, exclude_categories=())) | st.sampled_from(HOSTILE)
NUMERIC: Final = st.text(
    alphabet="0123456789.eE+-_ infaNINF\u0663\uff11smhd:,", max_size=30
) | st.sampled_from(
    [
        "9" * 400,
        "9" * 5000,
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "1_0",
        "0x10",
        "1e-400",
        "\u0663",
        "9" * 400 + "h",
        ".",
        "-0.0",
    ]
)
ANYTHING: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.uuids(),
    lambda children: (
        st.lists(children)
        | st.dictionaries(TEXT | st.integers() | st.floats() | st.none(), children)
        | st.tuples(children)
    ),
    max_leaves=10,
)
SETTINGS: Final = ("poll_interval", "heartbeat_interval", "lease", "sweep_interval", "grace", "timeout", "threads", "prefetch",
                   "keep_completed", "keep_failed", "keep_cancelled")  # fmt: skip


@examples(300, 60_000)
@given(name=st.sampled_from(SETTINGS), text=NUMERIC | TEXT)
def test_settings_parse_or_name_themselves(name: str, text: str) -> None:
    given_: dict[str, object] = {name: text}
    try:
        found = resolve(WorkerSettings, {}, **given_).settings
    except ConfigurationError as error:
        assert str(error).startswith(name) or str(error).startswith("lease must be at least three")
        assert str(error).isprintable()
        assert len(str(error)) < 400
    else:
        assert isinstance(getattr(found, name), timedelta | int)


@examples(300, 60_000)
@given(text=NUMERIC | TEXT)
def test_the_same_text_in_the_environment_names_its_variable(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        resolve(WorkerSettings, {"JOBPLANE_LEASE": text, "JOBPLANE_QUEUES": text, "JOBPLANE_THREADS": text})
    with contextlib.suppress(ConfigurationError):
        settings = resolve(
            DatabaseSettings, {"DATABASE_URL": text, "AUDIT_LOGS_DB_SSL": text, "AUDIT_LOGS_DB_PORT": text}
        ).settings
        assert settings.sslmode
    assert isinstance(masked(text), str)


@examples(300, 60_000)
@given(text=TEXT | st.text(alphabet="a:,0123456789 -_\u0663", max_size=40))
def test_queue_specs_parse_or_say_what_is_wrong(text: str) -> None:
    try:
        queues = parse_queues(text)
    except ConfigurationError as error:
        assert str(error).startswith("queues ")
        assert str(error).isprintable()
    else:
        assert queues
        assert all(1 <= limit <= 10_000 for limit in queues.values())


@examples(300, 60_000)
@given(cursor=TEXT | ANYTHING | st.uuids().map(str))
def test_a_cursor_is_a_page_or_refused(cursor: object) -> None:
    steps = ops.list_jobs(cursor=cursor)  # type: ignore[arg-type]
    try:
        query = next(steps)
    except InvalidInputError as error:
        assert error.field == "cursor"
        assert str(error).isprintable()
    else:
        before = query.args["before"]  # type: ignore[union-attr]
        assert before is None or str(UUID(str(before))) == before


POLICIES: Final = (
    TEXT
    | ANYTHING.map(lambda value: json.dumps(value, default=str, skipkeys=True))
    | st.builds(
        lambda kind, seconds, factor, jitter: json.dumps({"kind": kind, "seconds": seconds, "factor": factor, "jitter": jitter}),
        st.sampled_from(["fixed", "linear", "exponential", "listed", "other"]),
        st.lists(st.floats() | st.integers(), max_size=3),
        st.floats() | st.integers(),
        st.booleans() | st.none(),
    )
    | st.sampled_from(["[" * 100_000, '{"kind": "fixed", "seconds": [1e400]}', '{"kind": "fixed", "x": ' + "[" * 5000 + "]" * 5000 + "}",
                       '{"kind": "fixed", "seconds": [' + "9" * 5000 + "]}"])
)  # fmt: skip


@examples(500, 100_000)
@given(text=POLICIES, attempt=st.integers(1, 100))
def test_a_stored_policy_is_one_or_none_and_its_delays_are_bounded(text: str, attempt: int) -> None:
    policy = decode_policy(text)

    if policy is not None:
        assert isinstance(policy, RetryPolicy)
        assert policy.delay(attempt) <= MAX_RETRY_DELAY
        assert isinstance(encode_policy(policy), str)


@examples(300, 60_000)
@given(payload=ANYTHING | st.dictionaries(TEXT, ANYTHING))
def test_a_payload_becomes_json_that_comes_back_or_is_refused(payload: object) -> None:
    try:
        text = encode_payload(payload)
    except InvalidInputError as error:
        assert error.field.partition(".")[0].partition("[")[0] == "payload"
        assert str(error).isprintable()
        assert len(str(error)) < 600
    else:
        assert len(text.encode()) <= MAX_PAYLOAD_BYTES
        assert "\\u0000" not in text.replace("\\\\", "")
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in {text[:100]}"))
        assert isinstance(decode_payload(text), dict)


@examples(200, 40_000)
@given(
    text=st.text(alphabet='{}[]":,\\ue0-9 \n\t"ntfalsrud.E+', max_size=60)
    | st.sampled_from(["[" * 100_000, "9" * 100_000, "[1e5000," + "[" * 5000])
)
def test_json_text_on_the_command_line_parses_or_names_its_argument(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        document: JobPayload = payload_of(text.lstrip("@"))
        assert isinstance(document, dict)


@examples(200, 40_000)
@given(value=ANYTHING)
def test_stored_json_reads_whatever_it_is(value: object) -> None:
    text = (
        json.dumps(value, default=lambda _: None, skipkeys=True, allow_nan=False)
        if _is_finite(value)
        else "null"
    )

    if "\\ud" not in text:  # lone surrogates are what jsonb refuses
        decode_json(text)


@examples(300, 60_000)
@given(text=NUMERIC | TEXT)
def test_lengths_and_times_of_options_parse_or_name_their_option(text: str) -> None:
    parsers: list[tuple[str, Callable[[str], object]]] = [("--delay", _length_of), ("--at", _time_of)]
    for name, parse in parsers:
        try:
            parse(text)
        except InvalidInputError as error:
            assert error.field == name
            assert str(error).isprintable()


EDGES: Final = [
    datetime(year, month, day, hour, tzinfo=timezone(timedelta(hours=offset)))
    for year, month, day, hour in ((1, 1, 1, 0), (9999, 12, 31, 23))
    for offset in (-14, 0, 14)
]  # fmt: skip


@examples(200, 40_000)
@given(when=st.datetimes(timezones=st.timezones() | st.none()) | st.sampled_from(EDGES) | ANYTHING)
def test_due_times_that_are_accepted_can_be_sent(when: object) -> None:
    """The driver turns them into UTC, which the first and last hours of the calendar have no room for."""
    try:
        due = check_scheduled_at(when)
    except InvalidInputError as error:
        assert error.field == "scheduled_at"
    else:
        job = new_job("work", {}, {"scheduled_at": due})
        sent = parameters_of(job)["scheduled_at"]
        assert isinstance(sent, datetime)
        # As moments: an hour that comes twice is never equal to that of another zone (PEP 495).
        assert sent.astimezone(UTC).timestamp() == sent.timestamp()
        assert (sent - datetime.fromisoformat("2000-01-01T00:00:00Z")) < timedelta(days=400 * 366)


@examples(300, 60_000)
@given(value=ANYTHING | st.floats() | st.timedeltas())
def test_each_check_answers_or_names_its_field(value: object) -> None:
    checks: dict[str, Callable[[object], object]] = {
        "type": check_type,
        "unique_key": lambda given_: check_key("unique_key", given_),
        "tags": check_tags,  # type: ignore[dict-item]
        "delay": check_delay,
    }
    for field, check in checks.items():
        try:
            check(value)
        except InvalidInputError as error:
            assert error.field == field
            assert str(error).isprintable()
    assert len(shown(value)) <= 80


@examples(300, 60_000)
@given(
    text=TEXT | st.text(alphabet="password=:/@?&#'\" \nbeartokn1", max_size=200), again=st.integers(1, 400)
)
def test_a_message_is_kept_valid_bounded_and_the_same_the_second_time(text: str, again: int) -> None:
    kept = message_of(text * again)

    assert len(kept.encode()) <= MAX_MESSAGE_BYTES
    assert "\0" not in kept
    assert report_of(ValueError(text)).message == message_of(text)


ARGUMENTS: Final = st.lists(
    st.sampled_from(["enqueue", "jobs", "list", "show", "retry", "cancel", "wait", "queues", "pause", "workers", "migrate", "sql", "up",
                     "status", "doctor", "--json", "--limit", "--queue", "--status", "--tag", "--cursor", "--timeout", "--to", "--delay",
                     "--at", "--priority", "--max-attempts", "--schema", "--format", "--output", "--extra-attempts", "--help", "-h", "--"])
    | TEXT | NUMERIC,
    max_size=6,
)  # fmt: skip


@examples(150, 10_000)
@given(arguments=ARGUMENTS)
def test_the_command_line_ends_in_a_code_and_not_in_a_traceback(arguments: list[str]) -> None:
    """Without a database: what is asked for is understood and refused, or not understood."""
    if "worker" in arguments or "demo" in arguments or "--output" in arguments:
        return
    env = {**dict.fromkeys(("DATABASE_URL", "JOBPLANE_SCHEMA")), **environment()}

    result = CliRunner().invoke(app, arguments, env=env, input="")

    assert result.exception is None or isinstance(result.exception, SystemExit), arguments
    assert result.exit_code in (0, 1, 2, 3, 4, 5)


def _is_finite(value: object) -> bool:
    try:
        json.dumps(value, default=lambda _: None, skipkeys=True, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True
