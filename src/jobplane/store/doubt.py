"""What is known of a write whose answer may have been lost.

An enqueue carries an id, so sending it again makes no second job; all that a lost answer leaves open is who made the job
that is found there (Doubt). Any other change runs in a transaction that has a name, and after a lost answer the server
is asked what became of it (Attempted): it is sent again only where it certainly did not happen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobplane.errors import DatabaseError
from jobplane.store.failures import may_have_been_done, outcome_unknown, sqlstate_of, translated
from jobplane.store.rows import Row


@dataclass(slots=True)
class Doubt:
    """Whether an earlier try of a write may have been done.

    Attributes:
        since: when the first try began, by time.monotonic() (seconds).
        unanswered: whether the answer of a try was lost.
        partly_written: whether some of what was asked for has been written for certain.
    """

    since: float = field(default_factory=time.monotonic)
    unanswered: bool = False
    partly_written: bool = False

    @property
    def is_open(self) -> bool:
        """Whether something may have been done, or was."""
        return self.unanswered or self.partly_written

    def for_reading(self) -> Doubt:
        """What it is for a statement that writes nothing: no lost answer of that one makes a job ours."""
        return Doubt(self.since, partly_written=self.is_open)

    def hear(self, error: BaseException) -> None:
        """Take note of how a try ended."""
        self.unanswered = self.unanswered or may_have_been_done(error)

    def covers(self, age: float) -> bool:
        """Whether a row that has been there for `age` seconds may be of a try whose answer was lost.

        Never wrong about a row of such a try; one that somebody else wrote while this call, or the last answer, was
        under way is taken for it too.
        """
        return self.unanswered and age <= time.monotonic() - self.since

    def translated(
        self,
        error: BaseException,
        doing: str,
        translate: Callable[[BaseException, str], DatabaseError] = translated,
    ) -> DatabaseError:
        """The error of jobplane for the driver's: it says so where the outcome is not known."""
        known = translate(error, doing)
        return outcome_unknown(known) if self.is_open else known


@dataclass(slots=True)
class Attempted:
    """A transaction that was told to commit.

    Attributes:
        id: its name on the server.
        rows: what its statement returned.
    """

    id: str
    rows: Sequence[Row]

    def is_done(self, outcome: object) -> bool:
        """Whether it was committed, by transaction/outcome; False: it was not, and never will be.

        Raises TimeoutError while the server is still at work on it: ask again.
        """
        match outcome:
            case "committed":
                return True
            case "aborted":
                return False
            case _:
                raise TimeoutError("the server has not decided on the transaction yet")


def was_never_there(error: BaseException) -> bool:
    """Whether asking for a transaction failed because this server never saw it: a standby took over without it."""
    return sqlstate_of(error) == "22023"
