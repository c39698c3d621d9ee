"""What may be wrong with a history: one class for each way in which a promise can be broken.

The promises are numbered as in docs/reliability.md. A violation says in plain words what happened, with the figures,
so that it can be understood without the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True)
class Violation:
    """A promise was broken.

    Attributes:
        promise: its number, such as I5.
        job_id: the job; None where it is a matter of several.
        says: what happened.
    """

    promise: ClassVar[str] = ""
    job_id: UUID | None
    says: str


class LostJob(Violation):
    """An acknowledged job is gone, and was not pruned."""

    promise = "I1"


class UnexpectedJob(Violation):
    """A job that nobody asked for."""

    promise = "I1"


class DuplicateEnqueue(Violation):
    """One idempotency key made several jobs."""

    promise = "I2"


class StuckJob(Violation):
    """A job that did not come to its end although nothing hinders it any longer."""

    promise = "I4"


class BrokenFence(Violation):
    """The epoch did not count the claims one by one."""

    promise = "I5"


class StaleWrite(Violation):
    """A claim was written to by someone who did not hold it."""

    promise = "I5"


class DoubleCompletion(Violation):
    """One claim was completed twice."""

    promise = "I5"


class UnclaimedExecution(Violation):
    """A handler ran under an epoch that was never claimed."""

    promise = "I5"


class MiscountedAttempts(Violation):
    """Attempts did not count the claims, or their limit changed without a retry."""

    promise = "I6"


class TooManyAttempts(Violation):
    """More attempts were begun than the limit allows."""

    promise = "I6"


class ExtraExecution(Violation):
    """More handlers ran than were claimed."""

    promise = "I6"


class LateRecovery(Violation):
    """A job of a lost worker waited too long for its next claim."""

    promise = "I7"


class EarlySteal(Violation):
    """A job was taken back from a worker that still held it."""

    promise = "I8"


class TerminalLeft(Violation):
    """An ended job changed without a retry."""

    promise = "I10"


class MiscountedRetries(Violation):
    """Retries that were acknowledged did not happen, or more happened than were asked for."""

    promise = "I10"


class IllegalTransition(Violation):
    """A status followed another that it must not follow, or not by this verb."""

    promise = "I11"


class BrokenChain(Violation):
    """A change is missing from the history, or was made past it."""

    promise = "I11"


class ImpossibleRow(Violation):
    """A row holds what no sequence of transitions leads to."""

    promise = "I11"


class ClaimAfterCancel(Violation):
    """A job was claimed although it had been cancelled before it started."""

    promise = "I12"


class EndedTwice(Violation):
    """A job ended although it had ended already."""

    promise = "I12"


class EarlyStart(Violation):
    """A job was claimed before it was due."""

    promise = "I13"


class PassedOver(Violation):
    """A job was left waiting while a later one was claimed."""

    promise = "I14"


class SharedKey(Violation):
    """Two unfinished jobs had one unique key."""

    promise = "I15"


class OverLimit(Violation):
    """More jobs ran at once than the limit allows."""

    promise = "I16"


class DuplicateTick(Violation):
    """One tick of a schedule was enqueued twice."""

    promise = "I17"


class WrongTick(Violation):
    """A tick of a schedule is missing, or was enqueued although there is no such tick."""

    promise = "I17"


class Unbalanced(Violation):
    """The jobs that were enqueued are not those that are there or were pruned."""

    promise = "I20"
