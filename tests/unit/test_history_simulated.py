"""check() on histories of a simulator: legal behaviour gives no violation, any one corruption of it does (I11)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobplane.history.check import check
from jobplane.history.record import History, Transition
from jobplane.job import TRANSITIONS, JobStatus
from tests.histories import RUNNING, WORKERS, actor, at, row_of, simulate
from tests.support import LONG

Corruption: TypeAlias = "Callable[[History, random.Random], History | None]"
"""Makes a history wrong; None where there is nothing in it to corrupt so."""
SEEDS = st.integers(min_value=0, max_value=2**32)


@given(seed=SEEDS, jobs=st.integers(1, 12), steps=st.integers(0, 150))
def test_legal_behaviour_is_no_violation(seed: int, jobs: int, steps: int) -> None:
    assert check(simulate(seed, jobs, steps)) == []


@given(seed=SEEDS, cut=st.floats(0, 1))
def test_a_history_that_begins_in_the_middle_is_no_violation(seed: int, cut: float) -> None:
    """As after history on, or past the retention of transitions."""
    history = simulate(seed)
    ordered = sorted(history.transitions, key=lambda item: (item.at, item.rev))
    kept = ordered[int(len(ordered) * cut) :]

    assert check(replace(history, transitions=tuple(kept), whole=False, unbroken=True)) == []


@given(seed=SEEDS)
def test_how_jobs_are_mixed_makes_no_difference(seed: int) -> None:
    history = simulate(seed)
    by_job = sorted(history.transitions, key=lambda item: (item.job_id, item.rev))

    assert check(replace(history, transitions=tuple(by_job))) == []


def _drop(history: History, draw: random.Random) -> History:
    left = list(history.transitions)
    del left[draw.randrange(len(left))]
    return replace(history, transitions=tuple(left))


def _duplicate(history: History, draw: random.Random) -> History:
    left = list(history.transitions)
    at_index = draw.randrange(len(left))
    left.insert(at_index, left[at_index])
    return replace(history, transitions=tuple(left))


def _swap(history: History, draw: random.Random) -> History | None:
    left = list(history.transitions)
    first = draw.randrange(len(left))
    second = next((i for i in range(first + 1, len(left)) if left[i].job_id == left[first].job_id), None)
    if second is None:
        return None
    left[first], left[second] = left[second], left[first]
    return replace(history, transitions=tuple(left))


def _altered(
    which: Callable[[Transition], bool], how: Callable[[Transition, random.Random], Transition]
) -> Corruption:
    def corrupt(history: History, draw: random.Random) -> History | None:
        candidates = [i for i, item in enumerate(history.transitions) if which(item)]
        if not candidates:
            return None
        left = list(history.transitions)
        chosen = draw.choice(candidates)
        left[chosen] = how(left[chosen], draw)
        return replace(history, transitions=tuple(left))

    return corrupt


def _another_verb(item: Transition, draw: random.Random) -> Transition:
    def fits(verb: str) -> bool:
        sources, targets = TRANSITIONS[verb]
        return item.verb == verb or (item.before in sources and item.after in targets)

    return replace(
        item,
        verb=draw.choice(
            [verb for verb in (*TRANSITIONS, "finish") if verb not in TRANSITIONS or not fits(verb)]
        ),
    )


def _another_status(status: JobStatus | None, draw: random.Random) -> JobStatus | None:
    others: list[JobStatus | None] = [other for other in JobStatus if other is not status]
    return draw.choice(others if status is None else [*others, None])


def _another_worker(worker_id: str | None) -> str:
    return WORKERS[0] if worker_id != WORKERS[0] else WORKERS[1]


def _of_the_holder(item: Transition) -> bool:
    ends = item.verb == "cancel" and item.before is RUNNING and item.after is not RUNNING
    return ends or item.verb in {"claim", "renew", "complete", "fail", "reschedule", "snooze", "release"}


def _any(_item: Transition) -> bool:
    return True


def _lose_a_row(history: History, draw: random.Random) -> History | None:
    left = list(history.rows)
    if not left:
        return None
    del left[draw.randrange(len(left))]
    return replace(history, rows=tuple(left))


def _bring_back_a_row(history: History, draw: random.Random) -> History | None:
    gone = [item for item in history.transitions if item.verb == "prune"]
    there = {row.job_id for row in history.rows}
    lost = [item for item in gone if item.job_id not in there]
    if not lost:
        return None
    item = draw.choice(lost)
    return replace(history, rows=(*history.rows, row_of(replace(item, after=item.before))))


def _alter_a_row(history: History, draw: random.Random) -> History | None:
    if not history.rows:
        return None
    rows = list(history.rows)
    chosen = draw.randrange(len(rows))
    field = draw.choice(("attempts", "epoch", "max_attempts"))
    rows[chosen] = replace(rows[chosen], **{field: getattr(rows[chosen], field) + 1})
    return replace(history, rows=tuple(rows))


CORRUPTIONS: dict[str, Corruption] = {
    "a transition is missing": _drop,
    "a transition is there twice": _duplicate,
    "two transitions of a job have changed places": _swap,
    "another verb": _altered(_any, _another_verb),
    "another status before": _altered(
        _any, lambda item, draw: replace(item, before=_another_status(item.before, draw))
    ),
    "another status after": _altered(
        _any, lambda item, draw: replace(item, after=_another_status(item.after, draw))
    ),
    "another revision": _altered(
        _any, lambda item, draw: replace(item, rev=item.rev + draw.choice((-1, 1, 5)))
    ),
    "another epoch": _altered(
        _any, lambda item, draw: replace(item, epoch=item.epoch + draw.choice((-1, 1, 2)))
    ),
    "more attempts": _altered(_any, lambda item, _: replace(item, attempts=item.attempts + 1)),
    "another limit": _altered(
        _any, lambda item, draw: replace(item, max_attempts=item.max_attempts + draw.choice((-1, 1)))
    ),
    "another lease before": _altered(
        lambda item: item.before is not None, lambda item, _: replace(item, lease_was=at(-500))
    ),
    "another lease after": _altered(
        lambda item: item.after is not None, lambda item, _: replace(item, lease_is=at(-500))
    ),
    "a claim before it was due": _altered(
        lambda item: item.verb == "claim",
        lambda item, _: replace(item, at=item.scheduled_at - timedelta(seconds=1)),
    ),
    "a rescue before the lease had ended": _altered(
        lambda item: item.verb == "rescue",
        lambda item, _: replace(item, at=(item.lease_was or item.at) - timedelta(seconds=0.5)),
    ),
    "written by another worker": _altered(
        _of_the_holder, lambda item, _: replace(item, actor=actor(_another_worker(item.worker_id)))
    ),
    "a holder exchanged": _altered(
        lambda item: _of_the_holder(item) and item.verb != "claim",
        lambda item, _: replace(item, worker_id=_another_worker(item.worker_id)),
    ),
    "deleted by someone else": _altered(
        lambda item: item.verb == "prune", lambda item, _: replace(item, verb="delete")
    ),
    "a row is missing": _lose_a_row,
    "a pruned row is back": _bring_back_a_row,
    "a row was changed": _alter_a_row,
}


@pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
@settings(max_examples=1000 if LONG else 20)
@given(seed=SEEDS)
def test_any_one_corruption_is_a_violation(corruption: Corruption, seed: int) -> None:
    draw = random.Random(seed)
    corrupted = corruption(simulate(seed), draw)

    assert corrupted is None or check(corrupted) != []


@pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
def test_each_corruption_does_happen(corruption: Corruption) -> None:
    assert any(corruption(simulate(seed), random.Random(seed)) is not None for seed in range(20))
