"""Breaks a module in every small way that a slip of the hand might: one change for each mutant.

Not changed: annotations, docstrings, texts for people (those with a space in them), `slots`, and what runs for a type
checker alone.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from tests.mutants.mutant import Mutant

Change: TypeAlias = tuple[str, Callable[[], None]]
COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
SWAPPED: Final = {"min": "max", "max": "min"}


def mutants_of(name: str, text: str) -> Iterator[Mutant]:
    """All mutants of a module, each different from the module."""
    lines, seen, named = text.splitlines(), {ast.unparse(ast.parse(text))}, Counter[str]()
    for number in range(len(list(_changes(ast.parse(text))))):
        tree = ast.parse(text)  # a fresh one for each: a change is made in place
        node, change, make = list(_changes(tree))[number]
        line = lines[getattr(node, "lineno", 1) - 1].strip()
        make()
        mutated = ast.unparse(ast.fix_missing_locations(tree))
        if mutated not in seen:
            seen.add(mutated)
            named[change + line] += 1
            again = f" (#{named[change + line]})" if named[change + line] > 1 else ""
            yield Mutant(name, f"{change} in `{line}`{again}", mutated)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, Callable[[], None]]]:
    for node in _walk(tree):
        for change, make in _of(node):
            yield node, change, make


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params"} or _is_for_types(node):
            continue
        children = value if isinstance(value, list) else [value]
        if name == "body" and children and _is_text(children[0]):
            children = children[1:]  # the docstring
        for child in children:
            if isinstance(child, ast.AST) and not _is_text(child):
                yield from _walk(child)


def _is_for_types(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
        return True
    return isinstance(node, ast.keyword) and node.arg == "slots"


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of(node: ast.AST) -> Iterator[Change]:  # noqa: C901, PLR0912 - a table of what can be changed in what
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            new = COMPARISONS[type(op)]
            yield f"{type(op).__name__} -> {new.__name__}", lambda: setattr(node, "ops", [new()])
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{type(op).__name__} -> {other.__name__}", lambda: setattr(node, "op", other())
            for place, part in enumerate(node.values):
                yield f"without {ast.unparse(part)}", _removing(node.values, place)
        case ast.BinOp(op=op) if type(op) in OPERATORS and not isinstance(
            node.right, ast.Name | ast.Attribute
        ):
            operator = OPERATORS[type(op)]
            yield f"{type(op).__name__} -> {operator.__name__}", lambda: setattr(node, "op", operator())
        case ast.UnaryOp(op=ast.Not()):
            yield "not -> nothing", _becoming(node, node.operand)
        case ast.Constant(value=bool(truth)):
            yield f"{truth} -> {not truth}", lambda: setattr(node, "value", not truth)
        case ast.Constant(value=int(number) | float(number)):
            yield f"{number} -> {number + 1}", lambda: setattr(node, "value", number + 1)
        case ast.Constant(value=str(word)) if " " not in word:
            yield f"{word!r} -> {'XX' + word!r}", lambda: setattr(node, "value", "XX" + word)
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED:
            yield f"{name} -> {SWAPPED[name]}", lambda: setattr(node.func, "id", SWAPPED[name])
        case ast.IfExp():
            yield "if-else -> the first", _becoming(node, node.body)
            yield "if-else -> the second", _becoming(node, node.orelse)
        case ast.If() | ast.While():
            turned = ast.UnaryOp(ast.Not(), node.test)
            yield "condition turned", lambda: setattr(node, "test", turned)
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            yield "returns None", lambda: setattr(node, "value", ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete() | ast.AugAssign():
            yield "left out", _becoming(node, ast.Pass())
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "left out", _becoming(node, ast.Pass())
        case ast.Set(elts=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) if len(
            parts
        ) > 1 and _is_value(node):
            for place, part in enumerate(parts):
                yield f"without {ast.unparse(part)}", _removing(parts, place)
        case ast.Match(cases=cases):
            for place, case in enumerate(cases):
                yield f"without case {ast.unparse(case.pattern)}", _removing(cases, place)
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            for place, kind in enumerate(kinds):
                yield f"without {ast.unparse(kind)}", _removing(kinds, place)
        case _:
            pass


def _is_value(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def _removing(parts: list[ast.expr] | list[ast.match_case], place: int) -> Callable[[], None]:
    return lambda: parts.__delitem__(place)


def _becoming(node: ast.AST, other: ast.AST) -> Callable[[], None]:
    def become() -> None:
        # The parent keeps its reference, so the node itself turns into the other.
        twin = copy.copy(other)
        node.__class__ = twin.__class__
        node.__dict__.clear()
        node.__dict__.update(twin.__dict__)

    return become
