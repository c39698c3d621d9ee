"""Rules over the syntax of the package, for the tests of S1 and S2. Each answers with the places that break it.

The rule for SQL: what reaches a driver is a literal in the code, or a statement of sql/ (`.numbered`, `.pyformat`), which
is filled from names that the settings checked. Text that is put together never does, except in ALLOWED.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUNS_SQL: Final = frozenset(
    {
        "execute", "executemany", "fetch", "fetchmany", "fetchrow", "fetchval", "fetch_all", "fetch_one", "prepare",
        "cursor", "copy", "copy_expert", "copy_from_query", "exec_driver_sql", "execute_many", "run_sql",
    }
)  # fmt: skip
"""Methods of asyncpg, psycopg and SQLAlchemy whose first argument is SQL."""
OF_A_STATEMENT: Final = frozenset({"numbered", "pyformat"})
"""The attributes of jobplane.sql.Statement that hold its text."""
NO_SQL: Final = frozenset({"queues", "jobs", "claim"})
"""Names of first arguments of our own methods that are called `copy`, `execute` and the like, and take no SQL."""

ALLOWED: Final[Mapping[tuple[str, str], str]] = {
    ("client/runtime.py", "statement"): "a Statement, by its name",
    ("client/sync.py", "statement"): "the same",
    ("store/sync.py", "self"): "the settings of jobplane.store.session, constants of the code",
    ("store/connecting.py", "session"): "the settings of jobplane.store.session, constants of the code",
    ("store/database.py", "self"): "the same, for one transaction; a Statement",
    ("store/history.py", "CLIENT_SESSION"): "the same",
    ("store/migrator.py", "text"): "a numbered file of sql/migrations, its schema checked and quoted",
    ("store/online.py", "statement"): "one statement of such a file",
    ("store/listener.py", "PING"): "a constant of the code",
    ("store/history.py", "statement"): "a Statement, chosen by its name",
    ("store/history.py", "text"): "the text of a Statement",
    ("store/schedules.py", "await"): "one of two Statements",
    ("store/schedules.py", "statement"): "one of two Statements",
    (
        "store/script.py",
        "joinedstr",
    ): "the scripts of sql/roles and sql/tenant, names checked and quoted, between BEGIN and COMMIT",
    ("store/adapters.py", "text"): "the text of a Statement, in the notation of SQLAlchemy's driver",
    ("store/sync.py", "text"): "composed by psycopg.sql, which quotes the identifiers",
    ("store/store.py", "self"): "a Statement that was loaded when the store was made",
    (
        "cli/demo_ground.py",
        "await",
    ): "composed by the server's format() with %I and %L; or the example's own schema.sql",
    ("cli/demo_ground.py", "folder"): "the example's own schema.sql",
    ("cli/demo_proof.py", "query"): "composed by the server's format() with %I and %L",
    ("examples/control_plane.py", "statement"): "composed by the server's format() with %I and %L",
}
"""(file, what the first argument begins with): why it may run. An entry that nothing needs fails the test."""

FORBIDDEN_MODULES: Final = frozenset(
    {
        "pickle",
        "_pickle",
        "cPickle",
        "cloudpickle",
        "dill",
        "joblib",
        "jsonpickle",
        "marshal",
        "shelve",
        "yaml",
    }
)
FORBIDDEN_CALLS: Final = frozenset({"eval", "exec", "compile", "__import__"})
IMPORTS_BY_NAME: Final[Mapping[str, str]] = {
    "cli/targets.py": "MODULE of `jobplane worker`: typed by whoever starts the process, never read from a job",
    "cli/worker.py": "the constant 'uvloop'",
    "cli/demo_worker.py": "the constant 'jobplane'",
}
"""Files that may import a module by its name, and why no stored text can be that name."""
_IMPORTERS: Final = frozenset(
    {"import_module", "run_module", "run_path", "find_spec", "locate", "import_string"}
)
_SQL_BEGINS: Final = (
    "SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "CREATE ", "ALTER ", "DROP ", "GRANT ", "REVOKE ", "COPY ",
    "SET ", "LISTEN ", "NOTIFY ", "TRUNCATE ", "WITH ", "COMMENT ON ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is broken, or where one of its exceptions is used."""

    file: str
    line: int
    what: str


def sources(package: Path, examples: Path | None = None) -> dict[str, ast.Module]:
    """The modules of the package (and of the examples that its wheel brings), by path."""
    found = {path.relative_to(package).as_posix(): path for path in sorted(package.rglob("*.py"))}
    if examples is not None:
        found |= {f"examples/{path.name}": path for path in sorted(examples.rglob("*.py"))}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in found.items()}


def sql_arguments(modules: Mapping[str, ast.Module]) -> Iterator[Place]:
    """Every first argument of a method that runs SQL, unless it is a literal or the text of a Statement."""
    for file, module in modules.items():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in RUNS_SQL or not node.args:
                continue
            argument = node.args[0]
            if not _is_literal(argument) and not _is_statement(argument) and _root(argument) not in NO_SQL:
                yield Place(file, node.lineno, _root(argument))


def assembled_sql(modules: Mapping[str, ast.Module]) -> Iterator[Place]:
    """Every f-string, %, +, .format() or .join() whose fixed part begins like a statement."""
    for file, module in modules.items():
        for node in ast.walk(module):
            if any(part.lstrip().startswith(_SQL_BEGINS) for part in _assembled_from(node)):
                yield Place(file, getattr(node, "lineno", 0), ast.unparse(node)[:80])


def evaluating(modules: Mapping[str, ast.Module]) -> Iterator[Place]:
    """Every import of a module that unpickles, every evaluation, and every import by name outside of IMPORTS_BY_NAME."""
    for file, module in modules.items():
        for node in ast.walk(module):
            names = _imported(node)
            if isinstance(node, ast.Call):
                names |= _called(node) & FORBIDDEN_CALLS
                if _called(node) & _IMPORTERS and file not in IMPORTS_BY_NAME and not _constant(node):
                    names |= _called(node)
            for name in sorted(names):
                yield Place(file, getattr(node, "lineno", 0), name)


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_statement(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="load") | ast.Attribute(attr="statement")):
            return True  # handed on to a method of ours
        case (
            ast.Call(func=ast.Attribute(value=ast.Attribute(attr=attr), attr="encode"))
            | ast.Attribute(attr=attr)
        ):
            return attr in OF_A_STATEMENT
        case _:
            return False


def _root(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value) | ast.Call(func=value) | ast.BinOp(left=value):
            return _root(value)
        case _:
            return type(node).__name__.lower()


def _assembled_from(node: ast.AST) -> list[str]:
    match node:
        case ast.JoinedStr(values=[ast.Constant(value=str(first)), *_]):
            return [first]
        case ast.BinOp(left=ast.Constant(value=str(left)), op=ast.Mod() | ast.Add()):
            return [left]
        case ast.BinOp(right=ast.Constant(value=str(right)), op=ast.Add()):
            return [right]
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format" | "join" | "replace")
        ):
            return [text]
        case _:
            return []


def _imported(node: ast.AST) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {alias.name.split(".")[0] for alias in names} & FORBIDDEN_MODULES
        case ast.ImportFrom(module=str(module)):
            return {module.split(".")[0]} & FORBIDDEN_MODULES
        case _:
            return set()


def _called(node: ast.Call) -> set[str]:
    match node.func:
        case ast.Name(id=name):
            return {name}
        # `re.compile` and an SQL `connection.execute` are other things: of attributes, only those of builtins count.
        case ast.Attribute(value=ast.Name(id="builtins"), attr=name):
            return {name}
        case ast.Attribute(attr=name) if name in _IMPORTERS:
            return {name}
        case _:
            return set()


def _constant(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant)
