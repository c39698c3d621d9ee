"""Mistakes in how sessions are set up, for tests/faults/bugs.py."""

from __future__ import annotations

from jobplane.store import session


def sessions_take_the_databases_isolation() -> None:
    """Sessions say nothing of the isolation level, so the database's default holds."""
    set_up = session.Session._sql

    def without_it(self: session.Session, verb: str, is_local: str) -> str:
        return set_up(self.without("default_transaction_isolation"), verb, is_local)

    session.Session._sql = without_it  # type: ignore[method-assign]
