"""The caller's own connection or session, so that a job exists if and only if their transaction commits.

Recognised by shape, so that no driver has to be installed for this module to load:

| given                                         | colour | how statements run on it                       |
|-----------------------------------------------|--------|------------------------------------------------|
| asyncpg Connection, or from its pool          | async  | its own fetch                                  |
| psycopg.AsyncConnection                       | async  | a cursor                                       |
| psycopg.Connection                            | sync   | a cursor                                       |
| SQLAlchemy AsyncSession, AsyncConnection      | async  | exec_driver_sql, so that its transaction begins |
| SQLAlchemy Session, Connection                | sync   | exec_driver_sql                                |
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, Self, TypeAlias, cast

from jobplane.errors import UnsupportedConnectionError
from jobplane.sql import SQLValue, Statement
from jobplane.store.rows import Row

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
    match _kind(connection):
        case "asyncpg":
            return _on_asyncpg(cast("_AsyncpgConnection", connection))
        case "psycopg async":
            return _on_async_psycopg(cast("_AsyncPsycopgConnection", connection))
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
    match _kind(connection):
        case "psycopg":
            return _on_psycopg(cast("_PsycopgConnection", connection))
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
    name: str


class _Cursor(Protocol):
    description: Sequence[_Column] | None

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def execute(self, query: str, params: Mapping[str, SQLValue]) -> object: ...
    def fetchall(self) -> Sequence[tuple[object, ...]]: ...


class _PsycopgConnection(Protocol):
    def cursor(self, *, row_factory: Callable[[object], type[tuple[object, ...]]]) -> _Cursor: ...


class _AsyncCursor(Protocol):
    description: Sequence[_Column] | None

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def execute(self, query: str, params: Mapping[str, SQLValue]) -> object: ...
    async def fetchall(self) -> Sequence[tuple[object, ...]]: ...


class _AsyncPsycopgConnection(Protocol):
    def cursor(self, *, row_factory: Callable[[object], type[tuple[object, ...]]]) -> _AsyncCursor: ...


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


def _on_psycopg(connection: _PsycopgConnection) -> Run:
    def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        with connection.cursor(row_factory=_tuples) as cursor:
            cursor.execute(statement.pyformat, args)
            return _named(cursor.description, cursor.fetchall())

    return run


def _on_async_psycopg(connection: _AsyncPsycopgConnection) -> RunAsync:
    async def run(statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        async with connection.cursor(row_factory=_tuples) as cursor:
            await cursor.execute(statement.pyformat, args)
            return _named(cursor.description, await cursor.fetchall())

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
