"""One small change to a statement or a module."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """What is changed, and into what.

    Attributes:
        target: a statement such as job/claim, or a module such as jobplane.retry.
        change: what the change is, in words that name it for good: the list of equivalents uses them.
        text: the whole text after it.
    """

    target: str
    change: str
    text: str

    @property
    def is_sql(self) -> bool:
        """Whether it is a statement."""
        return "/" in self.target

    def __str__(self) -> str:
        return f"{self.target}: {self.change}"
