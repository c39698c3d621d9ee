"""What is printed of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

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


def line(report: Report) -> str:
    """One run for the terminal: the figures that are not 0, and those that must be."""
    shown = [
        f"{item.name.replace('_', ' ')} {_number(value)}"
        for item in fields(report.figures)
        if (value := getattr(report.figures, item.name)) or item.name in ("lost", "double_completions")
    ]
    return f"{report.name} ({report.seconds:.0f} s): {', '.join([*shown, *_more(report)])}"


def markdown(reports: Sequence[Report]) -> str:
    """All runs as a table, for docs/reliability.md."""
    head = ("run", "s", "jobs", "executions", "extra", "rescued", "recovery max, s", "also")
    rows = [
        (
            report.name,
            f"{report.seconds:.0f}",
            str(report.figures.jobs),
            str(report.figures.executions),
            str(report.figures.extra_executions),
            str(report.figures.rescues),
            "-" if report.figures.recovery_max is None else f"{report.figures.recovery_max:.1f}",
            ", ".join(_more(report)),
        )
        for report in reports
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def _more(report: Report) -> list[str]:
    return [f"{name.replace('_', ' ')} {_number(value)}" for name, value in report.more.items()]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
