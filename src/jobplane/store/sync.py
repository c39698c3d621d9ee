"""The synchronous driver: psycopg 3 and its pool, which must be installed (extra `jobplane[psycopg]`)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar, cast

from jobplane import forking
from jobplane.errors import ConfigurationError, ForkedProcessError
from jobplane.job import NewJob
from jobplane.settings import DatabaseSettings
from jobplane.sql import SQLValue, Statement, channel, load
from jobplane.store.database import RETRIES_ON_SAME_CONNECTION, pause_before
from jobplane.store.doubt import Attempted, Doubt, was_never_there
from jobplane.store.failures import Reaction, presentable, reaction_to, translated_bulk
from jobplane.store.keepalive import conninfo_options
from jobplane.store.replication import not_replicated, says_not_replicated
from jobplane.store.rows import COPY_COLUMNS, Row, record_of
from jobplane.store.session import CLIENT_SESSION
from jobplane.store.waker import Waker

try:
    import psycopg
    import psycopg.sql
    import psycopg_pool
    from psycopg.rows import dict_row

    from jobplane.store.conninfo import conninfo_of
except ImportError as missing:
    _missing: ImportError | None = missing
else:
    _missing = None

if TYPE_CHECKING:
    from psycopg.rows import DictRow

T = TypeVar("T")
PREPARE_AFTER: Final = 5
"""Uses of a statement after which psycopg prepares it: its own default."""


class SyncDatabase:
    """A lazily opened pool of psycopg connections, with the same care for failures as Database."""

    def __init__(self, settings: DatabaseSettings, tenant: str | None = None) -> None:
        if _missing is not None:
            raise ConfigurationError(
                "the synchronous client needs psycopg 3: pip install 'jobplane[psycopg]'"
            ) from _missing
        if not settings.is_given:
            raise ConfigurationError(
                "no database is configured: set DATABASE_URL (or AUDIT_LOGS_DB_HOST and the others), or pass a url"
            )
        self._settings = settings
        self._tenant = tenant if settings.row_security else None
        self._conninfo = conninfo_of(settings)
        # asyncpg keeps the time of an answer itself; psycopg leaves that to the server.
        milliseconds = settings.statement_timeout // timedelta(milliseconds=1)
        self._session = CLIENT_SESSION.but(statement_timeout=f"{milliseconds}ms")
        self._waker = Waker(self._notify)
        self._warnings = _Warnings()
        self._pool: psycopg_pool.ConnectionPool[psycopg.Connection[DictRow]] = psycopg_pool.ConnectionPool(
            self._conninfo,
            connection_class=cast("type[psycopg.Connection[DictRow]]", psycopg.Connection),
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,
                "application_name": "jobplane",
                "prepare_threshold": PREPARE_AFTER if settings.prepared_statements else None,
                **self._keepalives(),
            },
            min_size=0,
            max_size=settings.pool_max,
            timeout=settings.connect_timeout.total_seconds(),
            configure=self._configure,
            open=True,
        )
        self._forks = forking.forks()

    def fetch(
        self, statement: Statement, args: Mapping[str, SQLValue], doubt: Doubt | None = None
    ) -> Sequence[Row]:
        """Run one idempotent statement, again after errors that pass, for as long as settings.patience.

        `doubt` learns whether a try may have been done whose answer was lost.
        """

        def action(connection: psycopg.Connection[DictRow]) -> Sequence[Row]:
            try:
                with self._replication_heeded(), self._within(connection):
                    return _execute(connection, statement, args)
            except (psycopg.Error, OSError) as error:
                if doubt is not None:
                    doubt.hear(error)
                raise

        return self._run(statement.name, action, doubt)

    def fetch_exactly_once(self, statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        """As Database.fetch_exactly_once."""
        schema = self._settings.schema
        begun, outcome = load("transaction/begun", schema), load("transaction/outcome", schema)
        attempted: Attempted | None = None
        doubt = Doubt()

        def action(connection: psycopg.Connection[DictRow]) -> Sequence[Row]:
            nonlocal attempted
            with self._replication_heeded():
                if attempted is not None:
                    try:
                        (found,) = _execute(connection, outcome, {"id": attempted.id})
                        if attempted.is_done(found["outcome"]):
                            return attempted.rows
                    except psycopg.Error as error:
                        if not was_never_there(error):
                            raise
                    attempted, doubt.unanswered = None, False
                with connection.transaction():
                    self._set_locally(connection)
                    (named,) = _execute(connection, begun, {})
                    rows = _execute(connection, statement, args)
                    attempted, doubt.unanswered = Attempted(str(named["id"]), rows), True
                return rows

        return self._run(statement.name, action, doubt)

    @contextmanager
    def transaction(self, doubt: Doubt) -> Iterator[psycopg.Connection[DictRow]]:
        """A connection inside a transaction; one try.

        Whoever is about to end it says so with `doubt.unanswered = True`. Raises the DatabaseError that fits.
        """
        try:
            with (
                self._replication_heeded(),
                self._pool.connection() as connection,
                connection.transaction(),
            ):
                self._set_locally(connection)
                yield connection
        except (psycopg.Error, psycopg_pool.PoolTimeout, OSError) as error:
            self._check_process()
            cause = self._why(error)
            raise doubt.translated(cause, "enqueue_many", translated_bulk) from cause

    def copy(self, jobs: Iterable[NewJob], queues: set[str]) -> int:
        """Write jobs by COPY in one transaction; returns how many and collects their queues."""
        text = psycopg.sql.SQL("COPY {table} ({columns}) FROM STDIN").format(
            table=psycopg.sql.Identifier(self._settings.schema, "jobs"),
            columns=psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, COPY_COLUMNS)),
        )
        count, doubt = 0, Doubt()
        with self.transaction(doubt) as connection, connection.cursor() as cursor:
            now = connection.execute("SELECT now() AS now").fetchall()[0]["now"]
            with cursor.copy(text) as copy:
                for job in jobs:
                    record = record_of(job, now)
                    copy.write_row([list(value) if isinstance(value, tuple) else value for value in record])
                    queues.add(job.queue)
                    count += 1
            doubt.unanswered = True
        return count

    def wake(self, word: str) -> None:
        """Let workers know, soon; a wake-up that fails costs a poll interval."""
        self._waker.wake(word)

    def close(self) -> None:
        """Send outstanding wake-ups and close all connections."""
        self._waker.flush()
        self._pool.close()

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent. The pool's threads are not here, nor may it be closed."""
        # Its destructor would ask these threads to end, over a lock that one of them may have held.
        setattr(self._pool, "_closed", True)  # noqa: B010 - private, so not known to the type checker
        forking.keep(self)

    def _check_process(self) -> None:
        if self._forks != forking.forks():
            raise ForkedProcessError(
                "this process was forked in the middle of a call of its parent's client, which goes on there: call "
                "again here for a call of its own"
            )

    def _notify(self, word: str) -> None:
        schema = self._settings.schema
        self.fetch(load("wake/notify", schema), {"channel": channel(schema), "word": word})

    def _run(
        self, doing: str, action: Callable[[psycopg.Connection[DictRow]], T], doubt: Doubt | None = None
    ) -> T:
        began = doubt.since if doubt is not None and doubt.is_open else time.monotonic()
        give_up = began + self._settings.patience.total_seconds()
        tries = 0
        while True:
            tries += 1
            try:
                with self._pool.connection() as connection:
                    return action(connection)
            except (psycopg.Error, psycopg_pool.PoolTimeout, OSError) as error:
                self._check_process()
                reaction = reaction_to(error)
                final = reaction in (Reaction.DEPLOY, Reaction.FATAL) or (
                    reaction is Reaction.RETRY and tries > RETRIES_ON_SAME_CONNECTION
                )
                pause = pause_before(tries, reaction)
                if final or time.monotonic() + pause > give_up:
                    cause = self._why(error)
                    raise (doubt or Doubt()).translated(cause, doing) from presentable(cause)
            time.sleep(pause)

    def _configure(self, connection: psycopg.Connection[DictRow]) -> None:
        forking.guard(connection.fileno())
        connection.add_notice_handler(self._noticed)
        if self._settings.prepared_statements:
            connection.execute(self._session.for_session.encode())

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # Called by the thread whose statement is under way.
        if says_not_replicated(notice.source_function):
            self._warnings.last = notice.message_primary or ""

    @contextmanager
    def _replication_heeded(self) -> Iterator[None]:
        """As jobplane.store.replication.replication_heeded."""
        self._warnings.last = None
        yield
        if self._warnings.last is not None:
            raise not_replicated(self._warnings.last)

    def _keepalives(self) -> dict[str, int]:
        given = psycopg.conninfo.conninfo_to_dict(self._conninfo)
        wanted = conninfo_options(self._settings.network_timeout)
        return {name: value for name, value in wanted.items() if name not in given}

    @contextmanager
    def _within(self, connection: psycopg.Connection[DictRow]) -> Iterator[None]:
        if self._tenant is None and self._settings.prepared_statements:
            yield
            return
        with connection.transaction():
            self._set_locally(connection)
            yield

    def _set_locally(self, connection: psycopg.Connection[DictRow]) -> None:
        """Like Database.set_locally."""
        if not self._settings.prepared_statements:
            try:
                connection.execute(self._session.for_transaction.encode())
            except psycopg.errors.FeatureNotSupported as error:
                raise psycopg.errors.ReadOnlySqlTransaction(str(error)) from error
        if self._tenant is not None:
            enter = load("tenant/enter", self._settings.schema)
            connection.execute(enter.pyformat.encode(), {"tenant": self._tenant})

    def _why(self, error: Exception) -> Exception:
        # The pool connects in threads of its own and says only that it took too long: ask the server ourselves.
        if isinstance(error, psycopg_pool.PoolTimeout):
            try:
                seconds = math.ceil(self._settings.connect_timeout.total_seconds())
                psycopg.connect(self._conninfo, connect_timeout=seconds).close()
            except psycopg.Error as cause:
                return cause
        return error


def _execute(
    connection: psycopg.Connection[DictRow], statement: Statement, args: Mapping[str, SQLValue]
) -> Sequence[Row]:
    # Our own files, not anybody's input; psycopg asks for a literal to catch just that.
    return connection.execute(statement.pyformat.encode(), dict(args)).fetchall()


class _Warnings(threading.local):
    """What the server said of the commits of one thread."""

    last: str | None = None
