"""The words on the NOTIFY channel: written by clients, workers and enqueue_job(), read by workers.

| word                | means                                        |
|---------------------|----------------------------------------------|
| the name of a queue | the queue may have something new             |
| `cancel:<job id>`   | someone may have asked to cancel this job    |
| `limit:<queue>`     | the limit of the queue may have changed      |

PostgreSQL lets every role that may connect notify on any channel, so a word is no more than a hint to look: whether
a job is to be cancelled, and what a queue's limit is, is read from the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

_CANCEL: Final = "cancel:"
_LIMIT: Final = "limit:"
_CANCEL_LENGTH: Final = len(_CANCEL) + 36
"""Characters of a cancel word: others are not worth parsing an id for."""
_LONGEST_QUEUE: Final = 100


@dataclass(frozen=True, slots=True)
class Wake:
    """A queue may have something new."""

    queue: str

    @property
    def word(self) -> str:
        """What is sent."""
        return self.queue


@dataclass(frozen=True, slots=True)
class Cancel:
    """Someone may have asked to cancel a job."""

    job_id: UUID

    @property
    def word(self) -> str:
        """What is sent."""
        return f"{_CANCEL}{self.job_id}"


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """The limit of a queue may have changed."""

    queue: str

    @property
    def word(self) -> str:
        """What is sent."""
        return f"{_LIMIT}{self.queue}"


Wakeup: TypeAlias = Wake | Cancel | LimitChanged


def read(word: str) -> Wakeup | None:
    """What a word on the channel means; None for what no program of ours sends. Never raises."""
    if word.startswith(_CANCEL):
        if len(word) != _CANCEL_LENGTH:
            return None
        try:
            return Cancel(UUID(word[len(_CANCEL) :]))
        except ValueError:
            return None
    wakeup = LimitChanged(word[len(_LIMIT) :]) if word.startswith(_LIMIT) else Wake(word)
    return wakeup if 0 < len(wakeup.queue) <= _LONGEST_QUEUE else None
