"""What is printed of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jobplane.history.figures import Figures
from jobplane.history.violations import Violation


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run."""

    name: str
    seed: int
    seconds: float
    figures: Figures
    more: dict[str, object] = field(default_factory=dict)


def told(violations: Sequence[Violation]) -> str:
    """The first of them, in words."""
    return "\n".join(f"{violation.promise}: {violation.says}" for violation in violations[:20])
