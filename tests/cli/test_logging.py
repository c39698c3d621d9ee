"""Log lines: what they say, what they never say, and that nobody can forge one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobplane import events
from jobplane.context import current_job_id
from jobplane.events import (
    DatabaseRecovered,
    Event,
    Events,
    JobFinished,
    JobLost,
    JobsClaimed,
    JobsPruned,
    JobsRescued,
    LoopBlocked,
    ResultNotStored,
    ServiceFailed,
)
from jobplane.failure import ErrorReport, report_of
from jobplane.job import Claim
from jobplane.observability.formatters import MOST_BYTES, JSONFormatter, TextFormatter, printable
from jobplane.observability.logging import JobIdFilter, LogSubscriber, logger
from jobplane.outcome import Cancelled, Completed, Failed, Lost, Outcome, Released, Rescheduled, Snoozed

SECRET = "canary-7f3a"
HOSTILE = "x\r\n2026-01-01T00:00:00Z INFO forged \x1b[2J\x07\x00\u2028\u202e end"
JOB_ID = UUID("01890000-0000-7000-8000-000000000001")
FORMATTERS: list[Callable[[], logging.Formatter]] = [TextFormatter, JSONFormatter]


class Lines(logging.Handler):
    """Keeps what a formatter makes of each record."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.levels.append(record.levelno)


@pytest.fixture(params=FORMATTERS, ids=["text", "json"])
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """What the worker's logger writes, at debug."""
    handler = Lines(request.param())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


def _claim(job_type: str = "greet", payload: str = "{}") -> Claim:
    now = datetime.now(UTC)
    return Claim(JOB_ID, job_type, payload, 1, 3, 1, "default", 0, now, now, now, None, (), None, None)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Completed(f'"{SECRET}"'), "completed"),
        (Failed(ErrorReport("ValueError", SECRET, ("shop.py:7 greet",))), "failed"),
        (Rescheduled(ErrorReport("ValueError", SECRET), timedelta(seconds=90)), "again in 90.0 s"),
        (Snoozed(timedelta(seconds=3)), "snoozed, again in 3.0 s"),
        (Cancelled(ErrorReport("Cancel", SECRET)), "cancelled"),
        (Released(), "released"),
        (Lost(), "lost"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_outcome_is_one_line_at_info_without_anything_private(
    lines: Lines, outcome: Outcome, says: str
) -> None:
    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(JobFinished(_claim(payload=f'{{"token": "{SECRET}"}}'), outcome, 0.25))

    (line,) = lines.lines
    assert lines.levels == [logging.INFO]
    for part in (
        "greet",
        str(JOB_ID),
        says,
        "250.0 ms" if "{" not in line else '"duration_ms": 250.0',
        "default",
    ):
        assert part in line
    assert SECRET not in line


def test_a_failure_says_what_and_where_but_not_the_message(lines: Lines) -> None:
    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(
        JobFinished(_claim(), Failed(ErrorReport("KeyError", SECRET, ("a.py:1 x", "shop.py:7 greet"))), 0.1)
    )

    assert "KeyError" in lines.lines[0]
    assert "shop.py:7 greet" in lines.lines[0]


def test_the_outcome_is_a_word_that_programs_can_compare() -> None:
    handler = Lines(JSONFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(JobFinished(_claim(), Rescheduled(ErrorReport("E", ""), timedelta(seconds=90)), 0.1))
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)

    entry = json.loads(handler.lines[0])
    assert (entry["outcome"], entry["again_in_s"]) == ("rescheduled", 90.0)


def test_a_result_that_was_not_stored_is_a_warning(lines: Lines) -> None:
    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(ResultNotStored(_claim(), "result must be at most 1048576 bytes as JSON"))

    assert lines.levels == [logging.WARNING]
    assert "its result was not stored: result must be at most" in lines.lines[0]
    assert str(JOB_ID) in lines.lines[0]


def test_every_event_is_a_line_or_is_deliberately_quiet(lines: Lines) -> None:
    emitted = Events()
    LogSubscriber(emitted)
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]

    silent = [kind.__name__ for kind in kinds if kind is not Event and not emitted.wants(kind)]

    assert silent == []


def test_nothing_is_subscribed_that_the_level_would_drop(lines: Lines) -> None:
    logger.setLevel(logging.WARNING)
    emitted = Events()
    LogSubscriber(emitted)

    assert not emitted.wants(JobFinished)
    assert not emitted.wants(JobsClaimed)
    assert emitted.wants(ServiceFailed)


@pytest.mark.parametrize(
    ("event", "level", "says"),
    [
        (LoopBlocked(1.5, ["block"]), logging.WARNING, "block"),
        (JobLost(_claim(), "it was taken back"), logging.WARNING, "it was taken back"),
        (JobsRescued([JOB_ID]), logging.INFO, "rescued 1"),
        (JobsPruned(12), logging.INFO, "pruned 12"),
        (DatabaseRecovered("claimer default"), logging.INFO, "claimer default works again"),
        (JobsClaimed("default", [_claim()]), logging.DEBUG, "claimed 1 from default"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_other_events_have_their_levels(lines: Lines, event: Event, level: int, says: str) -> None:
    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(event)

    assert lines.levels == [level]
    assert says in lines.lines[0]


def test_a_failing_service_warns_once_and_again_after_it_recovered(lines: Lines) -> None:
    emitted = Events()
    LogSubscriber(emitted)
    failure = ServiceFailed("claimer default", OSError(f"refused\nDETAIL: {SECRET}"), 0.1)

    for event in (failure, failure, DatabaseRecovered("claimer default"), failure):
        emitted.emit(event)

    assert lines.levels == [logging.WARNING, logging.DEBUG, logging.INFO, logging.WARNING]
    assert "OSError: refused" in lines.lines[0]
    assert not any(SECRET in line for line in lines.lines)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])
def test_hostile_text_stays_on_its_line(formatter: Callable[[], logging.Formatter]) -> None:
    record = logging.makeLogRecord(
        {"msg": HOSTILE, "levelname": "INFO", "job_type": HOSTILE, "job_id": HOSTILE}
    )

    line = formatter().format(record)

    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])
@pytest.mark.parametrize("text", ["a", "ü", "\N{PILE OF POO}", "\x00", "\ud800"], ids=ascii)
def test_a_line_has_a_largest_size(formatter: Callable[[], logging.Formatter], text: str) -> None:
    record = logging.makeLogRecord({"msg": text * 1_000_000, "levelname": "INFO", "job_type": text * 100_000})

    line = formatter().format(record)

    assert len(line.encode()) <= MOST_BYTES


def test_a_json_line_holds_what_is_known() -> None:
    record = logging.makeLogRecord(
        {"msg": "said %s", "args": ("ü",), "levelname": "WARNING", "name": "app", "created": 1_700_000_000.25,
         "job_id": JOB_ID, "job_type": "greet", "attempt": 2, "unknown": "left out"}
    )  # fmt: skip

    entry = json.loads(JSONFormatter().format(record))

    assert entry == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "app",
        "message": "said ü",
        "job_id": str(JOB_ID),
        "job_type": "greet",
        "attempt": 2,
    }


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])
def test_an_exception_cannot_forge_lines(formatter: Callable[[], logging.Formatter]) -> None:
    error = ValueError(HOSTILE)
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, "failed", None, (ValueError, error, None))

    first, *others = formatter().format(record).split("\n")

    assert first.isprintable()
    assert all(line.startswith("  | ") and line.isprintable() for line in others)
    assert "ValueError" in first + "".join(others)


def test_the_filter_adds_the_id_of_the_job_that_code_runs_under() -> None:
    outside, inside = logging.makeLogRecord({}), logging.makeLogRecord({})

    JobIdFilter().filter(outside)
    token = current_job_id.set(JOB_ID)
    JobIdFilter().filter(inside)
    current_job_id.reset(token)

    assert vars(outside)["job_id"] is None
    assert vars(inside)["job_id"] == str(JOB_ID)


def test_printable_text_is_left_as_it_is() -> None:
    assert printable("grüße 日本 [x] \\n") == "grüße 日本 [x] \\n"
    assert printable("a\nb\x1b") == "a\\nb\\x1b"
    assert len(printable("x" * 10_000)) == MOST_BYTES


def test_an_error_whose_text_cannot_be_made_is_still_a_line(lines: Lines) -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    emitted = Events()
    LogSubscriber(emitted)

    emitted.emit(ServiceFailed("reporter 1", BrokenError(), 1.0))
    emitted.emit(JobFinished(_claim(), Failed(report_of(BrokenError())), 0.1))

    assert "BrokenError" in lines.lines[0]
    assert "BrokenError" in lines.lines[1]
