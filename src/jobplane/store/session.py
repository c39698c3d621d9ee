"""What the sessions of jobplane's own connections are set to, whatever the server, the database, the role or the URL says.

Administrators set defaults with ALTER DATABASE and ALTER ROLE, and some of them change what statements mean: the
isolation level, how times are written, where names are looked up, when a commit is durable. So no session relies on
them. Each is set up by one statement right after it connects; behind a pooler in transaction mode, by the same
statement at the beginning of each transaction, since the server's session changes hands at each commit.

Sessions of callers (`connection=`) are theirs and stay as they are: the statements that run there are written so that
they mean the same in each (docs/guide/database.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jobplane.sql import load

BEGIN_LOCALLY: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE"
"""Must come before the first query of a transaction: its defaults were those of whoever had the session before."""


@dataclass(frozen=True, slots=True)
class Session:
    """Settings for one purpose, as PostgreSQL itself prints them.

    Attributes:
        settings: values by the name of their setting. A server that does not know a setting goes without it.
        instead_of: settings that are changed only from this one value; all others are an operator's to choose.
    """

    settings: Mapping[str, str]
    instead_of: Mapping[str, str] = field(default_factory=dict)

    def but(self, **settings: str) -> Session:
        """The same with other values for some settings."""
        return Session({**self.settings, **settings}, self.instead_of)

    def without(self, *names: str) -> Session:
        """The same, with these settings left as the server gives them."""
        return Session(
            {name: value for name, value in self.settings.items() if name not in names}, self.instead_of
        )

    @property
    def for_session(self) -> str:
        """The SQL that sets up a session of our own."""
        return self._sql("SET", "false")

    @property
    def for_transaction(self) -> str:
        """The SQL that begins a transaction in a session that others use too; nothing outlives the transaction."""
        return f"{BEGIN_LOCALLY}; {self.for_snapshot}"

    @property
    def for_snapshot(self) -> str:
        """The same for a transaction that chose its isolation level itself."""
        return self._sql("SET LOCAL", "true")

    def _sql(self, verb: str, is_local: str) -> str:
        # A server's timeout of some milliseconds would end the set-up itself, which reads tables; this alone reads none.
        timeout = self.settings.get("statement_timeout")
        unhurried = "" if timeout is None else f"{verb} statement_timeout = '{timeout}'; "
        return unhurried + load("session/set").written_out(
            {
                "is_local": is_local,
                "names": list(self.settings),
                "values": list(self.settings.values()),
                "instead_of": [self.instead_of.get(name, "") for name in self.settings],
            }
        )


CLIENT_SESSION: Final = Session(
    {
        # Nobody's objects are found but PostgreSQL's own; ours are always named by their schema.
        "search_path": "pg_catalog, pg_temp",
        # Statements are written for this level: under a higher one a queue's limit counts from an old snapshot.
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off",
        "default_transaction_deferrable": "off",
        # How values travel as text. In a database of SQL_ASCII the driver would else hand out bytes.
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "standard_conforming_strings": "on",
        "quote_all_identifiers": "off",
        # Off, a NULL in an array that psycopg sends would become the text NULL: a unique key, say.
        "array_nulls": "on",
        # A commit that did not wait for its standby is reported by a warning, which must arrive.
        "client_min_messages": "notice",
        # An acknowledged job must survive a crash of the server, and so must a claim: lost, its epoch is given twice.
        "synchronous_commit": "on",
        # Off, a policy would be an error instead of a filter.
        "row_security": "on",
        # Under replica no trigger fires: no history, and no priority from the payload.
        "session_replication_role": "origin",
        # How long something may take is for jobplane's own settings.
        "statement_timeout": "0",
        "lock_timeout": "0",
        "transaction_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        # Statements are written for indexes; compiling them takes longer than running them.
        "enable_indexscan": "on",
        "enable_indexonlyscan": "on",
        "enable_bitmapscan": "on",
        "enable_seqscan": "on",
        "enable_sort": "on",
        "enable_nestloop": "on",
        "enable_hashjoin": "on",
        "enable_mergejoin": "on",
        "enable_hashagg": "on",
        "enable_material": "on",
        "plan_cache_mode": "auto",
        "jit": "off",
    },
    # A database may ask for more than `on` (remote_apply), or wait for its own disk alone (local): only `off` loses jobs.
    instead_of={"synchronous_commit": "off", "session_replication_role": "replica"},
)
"""Clients, and what only reads."""

WORKER_SESSION: Final = CLIENT_SESSION.but(
    # A generic plan that was made while the table was empty would sort all waiting jobs for each claim; without
    # these choices the planner can only walk the indexes that the statements are written for.
    enable_seqscan="off",
    enable_sort="off",
    enable_bitmapscan="off",
    enable_hashjoin="off",
    enable_mergejoin="off",
    # A row that someone keeps locked must not hold up the batch it is in.
    lock_timeout="200ms",
    # A worker that is stopped in the middle of a transaction must not keep a queue's lock from the others.
    idle_in_transaction_session_timeout="2s",
)
"""Workers: claims, outcomes, leases and maintenance."""

OPERATOR_SESSION: Final = CLIENT_SESSION.but(
    # Whoever waits for a lock on a table makes all others queue up behind it: not for long, but again and again.
    lock_timeout="1s",
)
"""Migrations, roles, tenants and the switch of the history: what takes locks on tables."""
