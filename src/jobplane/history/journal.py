"""Journals that clients and handlers keep outside of the database: JSON objects, one a line.

A client writes a line before each call and one after it. `call` is unique for the call; `op` is enqueue, retry or
cancel; `key` the idempotency key, where one is given; `job` the id, once it is known; `at` Unix seconds:

    {"event": "invoke", "call": "71-1", "op": "enqueue", "key": "order-1", "at": 1764014400.1, "pid": 71}
    {"event": "ok", "call": "71-1", "job": "0192...", "at": 1764014400.2, "pid": 71}

`fail` instead of `ok` says that it certainly did not happen, `info` that nobody knows. A call without an answer (its
process was killed) is an info too. What the answer does not repeat is taken from the invoke.

A handler writes what it does; `epoch` is that of its claim:

    {"event": "start", "job": "0192...", "epoch": 1, "at": 1764014400.3, "pid": 80}

with the events start, effect, end and cancelled. Other keys and other events are ignored, and so are lines that are
torn: a process that is killed while it writes, or a disk that is full, leaves such.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, cast
from uuid import UUID

from jobplane.history.record import Call, CallOutcome, Execution, ExecutionEvent
from jobplane.payload import nests_too_deep

Calls: TypeAlias = tuple[Call, ...]
Executions: TypeAlias = tuple[Execution, ...]
_Entry: TypeAlias = Mapping[str, object]
_ANSWERS: Final = frozenset(CallOutcome)
_EXECUTIONS: Final = frozenset(ExecutionEvent)


@dataclass(slots=True)
class _Open:
    call: Call
    answered: bool = False


def read_journal(lines: Iterable[str]) -> tuple[Calls, Executions]:
    """The calls and the executions of one journal, or of several one after the other, in the order of their lines."""
    calls: dict[str, _Open] = {}
    executions = []
    for line in lines:
        entry = _entry_of(line)
        if entry is None:
            continue
        event = str(entry.get("event"))
        if "call" in entry and (event == "invoke" or event in _ANSWERS):
            _take_call(calls, entry)
        elif event in _EXECUTIONS:
            execution = _execution_of(entry)
            if execution is not None:
                executions.append(execution)
    return tuple(opened.call for opened in calls.values()), tuple(executions)


def _entry_of(line: str) -> _Entry | None:
    if nests_too_deep(line):
        return None
    try:
        entry: object = json.loads(line)
    except ValueError:
        return None
    return cast("_Entry", entry) if isinstance(entry, dict) else None


def _take_call(calls: dict[str, _Open], entry: _Entry) -> None:
    name = str(entry.get("call"))
    opened = calls.get(name)
    if opened is None:
        # An answer whose invoke was torn still says what it says.
        opened = calls[name] = _Open(
            Call(
                operation=str(entry.get("op", "enqueue")),
                outcome=CallOutcome.INFO,
                job_id=_job_of(entry),
                key=_text(entry.get("key")),
                begun_at=_number(entry.get("at")),
            )
        )
    if entry["event"] != "invoke" and not opened.answered:
        opened.answered = True
        opened.call = replace(
            opened.call,
            outcome=CallOutcome(str(entry["event"])),
            job_id=_job_of(entry) or opened.call.job_id,
            key=_text(entry.get("key")) or opened.call.key,
            ended_at=_number(entry.get("at")),
        )


def _execution_of(entry: _Entry) -> Execution | None:
    job_id, epoch = _job_of(entry), entry.get("epoch")
    if job_id is None or not isinstance(epoch, int):
        return None
    return Execution(
        event=ExecutionEvent(str(entry["event"])),
        job_id=job_id,
        epoch=epoch,
        pid=int(_number(entry.get("pid"))),
        at=_number(entry.get("at")),
    )


def _job_of(entry: _Entry) -> UUID | None:
    try:
        return UUID(str(entry.get("job")))
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0
