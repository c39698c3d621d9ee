"""read_journal(): what clients and handlers wrote, whatever became of the last line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.history.journal import read_journal
from jobplane.history.record import Call, CallOutcome, Execution, ExecutionEvent
from tests.histories import job
from tests.support import Journal


def line(**entry: object) -> str:
    """One entry."""
    return json.dumps(entry, default=str)


INVOKE = line(event="invoke", call="1-1", op="enqueue", key="k", at=10.5, pid=1)


@pytest.mark.parametrize("outcome", CallOutcome)
def test_a_call_is_what_its_answer_says(outcome: CallOutcome) -> None:
    answer = line(event=outcome, call="1-1", job=job(1), at=11.5, pid=1)

    calls, executions = read_journal([INVOKE, answer])

    assert calls == (
        Call(operation="enqueue", outcome=outcome, job_id=job(1), key="k", begun_at=10.5, ended_at=11.5),
    )
    assert executions == ()


def test_a_call_without_an_answer_is_left_open() -> None:
    """Its process was killed while it waited."""
    calls, _ = read_journal([INVOKE])

    assert calls == (
        Call(operation="enqueue", outcome=CallOutcome.INFO, job_id=None, key="k", begun_at=10.5),
    )


def test_calls_of_several_processes_may_be_mixed() -> None:
    calls, _ = read_journal(
        [
            line(event="invoke", call="1-1", op="retry", job=job(1), at=1),
            line(event="invoke", call="2-1", op="enqueue", at=2),
            line(event="ok", call="2-1", job=job(2), at=3),
            line(event="fail", call="1-1", at=4),
        ]
    )

    assert [(call.operation, call.outcome, call.job_id) for call in calls] == [
        ("retry", CallOutcome.FAIL, job(1)),
        ("enqueue", CallOutcome.OK, job(2)),
    ]


def test_only_the_first_answer_counts() -> None:
    calls, _ = read_journal(
        [INVOKE, line(event="info", call="1-1", at=2), line(event="ok", call="1-1", at=3)]
    )

    assert [call.outcome for call in calls] == [CallOutcome.INFO]


def test_what_handlers_of_the_tests_write_is_read(tmp_path: Path) -> None:
    """As tests/handlers.py does."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(event="start", job=job(1), epoch=2, attempt=1, marker="")
    journal.write(event="told", job=job(1), epoch=2)
    journal.write(event="start")
    journal.write(event="end", job=job(1), epoch=2)

    calls, executions = read_journal(journal.path.read_text().splitlines())

    assert calls == ()
    assert [(item.event, item.job_id, item.epoch) for item in executions] == [
        (ExecutionEvent.START, job(1), 2),
        (ExecutionEvent.END, job(1), 2),
    ]
    assert executions[0].at <= executions[1].at
    assert executions[0].pid == executions[1].pid > 0


def test_a_torn_line_and_lines_of_others_are_passed_over() -> None:
    start = line(event="start", job=job(1), epoch=1, pid=7, at=1.0)

    _, executions = read_journal(
        [start, "", "null", "[1]", "nonsense", line(at=1), line(event="effect"), start[:30]]
    )

    assert executions == (Execution(event=ExecutionEvent.START, job_id=job(1), epoch=1, pid=7, at=1.0),)


@given(
    st.lists(
        st.one_of(
            st.text(),
            st.dictionaries(
                st.sampled_from(["event", "call", "job", "epoch", "at", "pid", "op"]),
                st.one_of(
                    st.none(),
                    st.integers(),
                    st.floats(),
                    st.text(),
                    st.lists(st.integers()),
                    st.sampled_from(["ok", "invoke", "start", "end"]),
                ),
            ).map(json.dumps),
        )
    )
)
def test_no_line_makes_it_fail(lines: list[str]) -> None:
    read_journal(lines)


@pytest.mark.parametrize("levels", [65, 5_000, 200_000])
def test_a_line_that_nests_too_deep_is_ignored_as_a_torn_one_is(levels: int) -> None:
    nested = "[" * levels + "]" * levels

    assert read_journal([f'{{"event": "invoke", "call": "1-1", "more": {nested}}}']) == ((), ())
