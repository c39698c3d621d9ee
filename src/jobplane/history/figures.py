"""The figures of a run, as the fault suite prints them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

from jobplane.history.accounts import acknowledged_of
from jobplane.history.check import Examination, examine
from jobplane.history.executions import extra_executions_of, overlaps_of
from jobplane.history.record import ExecutionEvent, History
from jobplane.history.violations import (
    DoubleCompletion,
    EarlySteal,
    IllegalTransition,
    LostJob,
    StaleWrite,
    StuckJob,
    TerminalLeft,
    TooManyAttempts,
    UnexpectedJob,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Numbers of a run. Those of promises that hold are 0; seconds are those of the database's clock."""

    jobs: int
    """Rows at the end and jobs that were pruned."""
    acknowledged: int
    lost: int
    unexpected: int
    claims: int
    completions: int
    double_completions: int
    executions: int
    extra_executions: int
    """Executions that a fault caused: neither the first, nor asked for by a failure, a snooze or a retry."""
    overlaps: int
    """Starts while an earlier execution was under way in a living process."""
    rescues: int
    recovery_max: float | None
    """The longest time from the last accepted renewal of a lost claim to the next claim; None without any."""
    recovery_median: float | None
    attempts_over_max: int
    illegal_transitions: int
    stale_writes: int
    early_steals: int
    stuck: int
    violations: int


def figures(history: History) -> Figures:
    """The figures of a history; `figures_of` spares the second look where it was examined already."""
    return figures_of(examine(history))


def figures_of(found: Examination) -> Figures:
    """The figures of a history that was examined."""
    history, lives = found.history, found.lives
    of_kind = Counter(type(violation) for violation in found.violations)
    recoveries = lives.recoveries
    return Figures(
        jobs=len({row.job_id for row in history.rows} | lives.of.keys()),
        acknowledged=len(acknowledged_of(history)),
        lost=len({violation.job_id for violation in found.violations if isinstance(violation, LostJob)}),
        unexpected=of_kind[UnexpectedJob],
        claims=lives.claims,
        completions=lives.completions,
        double_completions=of_kind[DoubleCompletion],
        executions=sum(execution.event is ExecutionEvent.START for execution in history.executions),
        extra_executions=extra_executions_of(history, lives.of),
        overlaps=overlaps_of(history),
        rescues=lives.rescues,
        recovery_max=max(recoveries, default=None),
        recovery_median=median(recoveries) if recoveries else None,
        attempts_over_max=len(
            {violation.job_id for violation in found.violations if isinstance(violation, TooManyAttempts)}
        ),
        illegal_transitions=of_kind[IllegalTransition] + of_kind[TerminalLeft],
        stale_writes=of_kind[StaleWrite],
        early_steals=of_kind[EarlySteal],
        stuck=of_kind[StuckJob],
        violations=len(found.violations),
    )
