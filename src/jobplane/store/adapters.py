"""The caller's own connection or session, so that a job exists if and only if their transaction commits.

Recognised by shape, so that no driver has to be installed for this module to load:

| given                                         | colour | how statements run on it                       |
|-----------------------------------------------|--------|------------------------------------------------|
| asyncpg Connection, or from its pool          | async  | its own fetch                                  |
| psycopg.AsyncConnection                       | async  | a cursor                                       |
| psycopg.Connection                            | sync   | a cursor                                       |
| SQLAlchemy AsyncSession, AsyncConnection      | async  | exec_driver_sql, so that its transaction begins |
| SQLAlchemy Session, Connection                | sync   | exec_driver_sql                                |

SQLAlchemy's scoped_session and async_scoped_session (Flask-SQLAlchemy's `db.session`) stand for the session of their scope.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from jobplane.errors import UnsupportedConnectionError
from jobplane.sql import SQLValue, Statement
from jobplane.store.rows import Row

if TYPE_CHECKING:
    import psycopg

Run: TypeAlias = Callable[[Statement, Mapping[str, SQLValue]], Sequence[Row]]
RunAsync: TypeAlias = Callable[[Statement, Mapping[str, SQLValue]], Awaitable[Sequence[Row]]]
Parameters: TypeAlias = tuple[SQLValue, ...] | dict[str, SQLValue]

SUPPORTED: Final = (
    "asyncpg Connection; psycopg 3 Connection and AsyncConnection; "
    "SQLAlchemy Session, AsyncSession, Connection and AsyncConnection"
)


def async_runner(connection: object) -> RunAsync:
    """How to run statements on the caller's asynchronous connection.

    Raises UnsupportedConnectionError for anything else, naming what was given.
    """
    connection = _meant(connection)
    match _kind(connection):
        case "asyncpg":
            return _on_asyncpg(cast("_AsyncpgConnection", connection))
        case "psycopg async":
            return _on_async_psycopg(cast("psycopg.AsyncConnection[object]", connection))
        case "sqlalchemy async":
            return _on_async_sqlalchemy(connection)
        case "psycopg" | "sqlalchemy":
            raise UnsupportedConnectionError(
                f"{_name(connection)} is synchronous, and this is the asynchronous client: "
                "use SyncJobQueue, or pass an asynchronous connection"
            )
        case _:
            raise UnsupportedConnectionError(
                f"cannot enqueue on a {_name(connection)}; supported are: {SUPPORTED}"
            )


def sync_runner(connection: object) -> Run:
    """How to run statements on the caller's synchronous connection. Raises UnsupportedConnectionError."""
    connection = _meant(connection)
    match _kind(connection):
        case "psycopg":
            return _on_psycopg(cast("psycopg.Connection[object]", connection))
        case "sqlalchemy":
            return _on_sqlalchemy(connection)
        case "asyncpg" | "psycopg async" | "sqlalchemy async":
            raise UnsupportedConnectionError(
                f"{_name(connection)} is asynchronous, and this is the synchronous client: "
                "use JobQueue, or pass a synchronous connection"
            )
        case _:
            raise UnsupportedConnectionError(
                f"cannot enqueue on a {_name(connection)}; supported are: {SUPPORTED}"
            )


def is_asyncpg(connection: object) -> bool:
    """Whether the caller's connection is asyncpg's own, which can COPY."""
    return _kind(connection) == "asyncpg"


def _meant(connection: object) -> object:
    """The session of the current scope, where a scoped session was given."""
    scope = getattr(connection, "registry", None)
    return scope() if callable(scope) and hasattr(scope, "has") else connection


def _kind(connection: object) -> str | None:
    modules = {base.__module__.split(".")[0] for base in type(connection).__mro__}
    if "sqlalchemy" in modules or "sqlmodel" in modules:
        # Only what can execute inside a transaction; an Engine, say, cannot.
        if not hasattr(connection, "in_transaction") or not hasattr(connection, "execute"):
            return None
        is_async = inspect.iscoroutinefunction(getattr(connection, "execute", None))
        return "sqlalchemy async" if is_async else "sqlalchemy"
    if "asyncpg" in modules and hasattr(connection, "fetch") and hasattr(connection, "is_in_transaction"):
        return "asyncpg"
    if "psycopg" in modules and hasattr(connection, "cursor") and hasattr(connection, "pgconn"):
        return (
            "psycopg async" if inspect.iscoroutinefunction(getattr(connection, "commit", None)) else "psycopg"
        )
    return None


def _name(connection: object) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


# What is used of each driver, as its static type: the drivers themselves are not imported here.


class _AsyncpgConnection(Protocol):
    async def fetch(self, query: str, *args: SQLValue) -> Sequence[Row]: ...


class _Column(Protocol):
    @property
    def name(self) -> str: ...


class _Mappings(Protocol):
    def all(self) -> Sequence[Row]: ...


class _Result(Protocol):
    def mappings(self) -> _Mappings: ...


class _Dialect(Protocol):
    name: str
    driver: str


class _AlchemyConnection(Protocol):
    dialect: _Dialect

    def exec_driver_sql(self, statement: str, parameters: Parameters) -> _Result: ...


class _AlchemySession(Protocol):
    def connection(self) -> _AlchemyConnection: ...


class _AsyncAlchemyConnection(Protocol):
    dialect: _Dialect

    async def exec_driver_sql(self, statement: str, parameters: Parameters) -> _Result: ...


class _AsyncAlchemySession(Protocol):
    async def connection(self) -> _AsyncAlchemyConnection: ...


def _on_asyncpg(connection: _AsyncpgConnection) -> RunAsync:
    async def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        return await connection.fetch(statement.numbered, *statement.positions(args))

    return run


def _on_psycopg(connection: psycopg.Connection[object]) -> Run:
    # Not connection.cursor(): that may be of a class with placeholders of another kind (RawCursor), or of no result.
    from psycopg import Cursor  # noqa: PLC0415 - whoever has such a connection has the driver

    def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        with Cursor(connection, row_factory=_tuples) as cursor:
            cursor.execute(statement.pyformat.encode(), args)
            rows = cursor.fetchall()  # in a pipeline it is only now that the columns are known
            return _named(cursor.description, rows)

    return run


def _on_async_psycopg(connection: psycopg.AsyncConnection[object]) -> RunAsync:
    from psycopg import AsyncCursor  # noqa: PLC0415 - see above

    async def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        async with AsyncCursor(connection, row_factory=_tuples) as cursor:
            await cursor.execute(statement.pyformat.encode(), args)
            rows = await cursor.fetchall()
            return _named(cursor.description, rows)

    return run


def _on_sqlalchemy(target: object) -> Run:
    def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        if hasattr(target, "get_bind"):
            connection = cast("_AlchemySession", target).connection()
        else:
            connection = cast("_AlchemyConnection", target)
        text, parameters = _for_dialect(connection.dialect, statement, args)
        return connection.exec_driver_sql(text, parameters).mappings().all()

    return run


def _on_async_sqlalchemy(target: object) -> RunAsync:
    async def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        if hasattr(target, "get_bind"):
            connection = await cast("_AsyncAlchemySession", target).connection()
        else:
            connection = cast("_AsyncAlchemyConnection", target)
        text, parameters = _for_dialect(connection.dialect, statement, args)
        return (await connection.exec_driver_sql(text, parameters)).mappings().all()

    return run


def _for_dialect(
    dialect: _Dialect, statement: Statement, args: Mapping[str, SQLValue]
) -> tuple[str, Parameters]:
    if dialect.driver == "asyncpg":
        return statement.numbered, statement.positions(args)
    if dialect.driver in ("psycopg", "psycopg_async"):
        return statement.pyformat, dict(args)
    raise UnsupportedConnectionError(
        f"SQLAlchemy is connected through {dialect.name}+{dialect.driver}; supported are postgresql+psycopg and "
        "postgresql+asyncpg"
    )


def _tuples(_cursor: object) -> type[tuple[object, ...]]:
    # The caller may have set a row factory of their own on the connection.
    return tuple


def _named(columns: Sequence[_Column] | None, rows: Sequence[tuple[object, ...]]) -> Sequence[Row]:
    names = [column.name for column in columns or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]
