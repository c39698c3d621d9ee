"""The check that a history is what docs/reliability.md promises: one pure function, linear in the history's length.

Each promise is looked at where its facts are: lives (one job's transitions), spans (several jobs at once), rows,
accounts (what callers were told), executions (what handlers did), ticks (schedules). Sorting by time is the only step
that costs more than one look at each fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from jobplane.history.accounts import check_calls
from jobplane.history.executions import check_executions
from jobplane.history.lives import Lives
from jobplane.history.record import History, Transition
from jobplane.history.rows import check_agreement, check_rows
from jobplane.history.spans import Spans
from jobplane.history.ticks import check_ticks
from jobplane.history.violations import Violation


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and what the finding rests on."""

    history: History
    lives: Lives
    violations: list[Violation]


def check(history: History) -> list[Violation]:
    """Everything in the history that breaks a promise; empty when all are kept.

    What a source that is empty would have shown is not looked at: without calls, nothing is said about acknowledged
    jobs, without executions nothing about handlers, without transitions only what the rows show.
    """
    return examine(history).violations


def examine(history: History, transitions: Iterable[Transition] | None = None) -> Examination:
    """As `check`, with what it rests on.

    Args:
        history: what is known.
        transitions: those to look at instead of history.transitions: they may be a stream, of which nothing but one
            small state for each job is kept.
    """
    examiner = Examiner(history)
    for transition in history.transitions if transitions is None else transitions:
        examiner.take(transition)
    return examiner.conclude(history)


class Examiner:
    """Takes transitions as they come, those of one job in the order of rev; then concludes."""

    def __init__(self, history: History) -> None:
        bound = history.profile if history.settled else None
        self.lives = Lives(history.whole, bound)
        self._spans = Spans(history)

    def take(self, transition: Transition) -> None:
        """Look at one transition."""
        life = self.lives.of.get(transition.job_id)
        self._spans.take(None if life is None else life.last, transition)
        self.lives.take(transition)

    def conclude(self, history: History) -> Examination:
        """Everything that was found, with the rest of the history."""
        return Examination(history, self.lives, [*self.lives.violations, *self._found_in(history)])

    def _found_in(self, history: History) -> Iterator[Violation]:
        known = self.lives.of
        yield from chain(
            self._spans.check(history.now),
            check_rows(history, known),
            check_agreement(history, known),
            check_calls(history, known),
            check_executions(history, known),
            check_ticks(history, known),
        )
