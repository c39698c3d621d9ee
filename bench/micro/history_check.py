"""How the time of `jobplane verify`'s check grows with the history: linearly, or something in it became quadratic.

    python -m bench.micro.history_check [times]

Checks a simulated history, and the same jobs three, ten, thirty ... times over, and prints the seconds that each took
and those of a million transitions at that rate.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from jobplane.history.check import check
from jobplane.history.record import History
from tests.histories import simulate


def main(most: int) -> None:
    """Up to so many times the jobs of the simulated history."""
    history = simulate(7, jobs=300, steps=1_500)
    times = 1
    while times <= most:
        repeated = _repeated(history, times)
        seconds = _seconds(repeated)
        count = len(repeated.transitions)
        print(f"{count:9} transitions  {seconds:7.3f} s  {seconds / count * 1_000_000:7.2f} s a million")
        times *= 3


def _repeated(history: History, times: int) -> History:
    """The same jobs again and again, with other ids and keys."""

    def renamed(number: int) -> History:
        offset = number << 32
        return replace(
            history,
            transitions=tuple(
                replace(
                    item,
                    job_id=type(item.job_id)(int=item.job_id.int + offset),
                    unique_key=f"{item.unique_key}-{offset}",
                )
                for item in history.transitions
            ),
            rows=tuple(
                replace(
                    row,
                    job_id=type(row.job_id)(int=row.job_id.int + offset),
                    unique_key=f"{row.unique_key}-{offset}",
                )
                for row in history.rows
            ),
        )

    parts = [renamed(number) for number in range(times)]
    return replace(
        history,
        transitions=tuple(item for part in parts for item in part.transitions),
        rows=tuple(row for part in parts for row in part.rows),
        calls=(),
        executions=(),
        ordered_queues=frozenset({"default"}),
        limits={"default": 10**9},
    )


def _seconds(history: History) -> float:
    took = []
    for _ in range(2):
        began = time.process_time()
        check(history)
        took.append(time.process_time() - began)
    return min(took)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 81)
