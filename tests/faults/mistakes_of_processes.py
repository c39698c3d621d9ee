"""Mistakes in what processes share, for tests/faults/bugs.py."""

from __future__ import annotations

from jobplane import forking


def children_go_on_with_the_parents_connections() -> None:
    """Nobody is told of a fork, and no socket is taken away."""

    def renew_in_child(renew: object) -> None: ...

    def guard(descriptor: int) -> None: ...

    forking.renew_in_child = renew_in_child
    forking.guard = guard
