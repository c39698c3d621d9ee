"""What one run gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.harness.phases import Unit


@dataclass(frozen=True, slots=True)
class Result:
    """One run; a figure that was not taken is 0.

    Attributes:
        rate: jobs per second.
        cpu: microseconds of the adapter's processor time for each job.
        p50: milliseconds.
        p99: milliseconds.
        db: microseconds of the server's processor time for each job.
        wal: bytes of write-ahead log for each job.
        memory: the adapter's largest resident size in MB.
        growth: by how much its resident size grew from the first tenth of the run to its end, in MB.
        skipped: why there is no figure, if so.
    """

    rate: float = 0.0
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    db: float = 0.0
    wal: float = 0.0
    memory: float = 0.0
    growth: float = 0.0
    skipped: str = ""

    def figure(self, unit: Unit) -> float:
        """The figure that counts."""
        return self.rate if unit == "jobs/s" else self.p50

    def shown(self, unit: Unit) -> str:
        """For people."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        if unit == "ms":
            return f"p50 {self.p50:6.2f} ms   p99 {self.p99:6.2f} ms"
        growth = f"   at most {self.memory:.0f} MB, grown by {self.growth:.1f} MB" if self.growth else ""
        latency = f"   p99 {self.p99:6.2f} ms" if self.p99 else ""
        return f"{self.rate:10,.0f} jobs/s   client {self.cpu:6.1f} us a job{latency}{growth}"


def number(figures: Mapping[str, object], name: str) -> float:
    """A figure of an adapter's line, or 0."""
    value = figures.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def middle(runs: Sequence[Result], unit: Unit) -> Result:
    """The median run, of those that gave a figure."""
    measured = sorted((run for run in runs if not run.skipped), key=lambda run: run.figure(unit))
    return measured[len(measured) // 2] if measured else runs[-1]


def ratios(ours: Sequence[Result], theirs: Sequence[Result], unit: Unit) -> list[float]:
    """Ours over theirs, round by round; of latencies theirs over ours, so that more is always better."""
    pairs = [
        (our.figure(unit), their.figure(unit))
        for our, their in zip(ours, theirs, strict=True)
        if our.figure(unit) and their.figure(unit)
    ]
    return [our / their if unit == "jobs/s" else their / our for our, their in pairs]
