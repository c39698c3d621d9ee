"""What an annotation asks for: looked through once, when a task is defined."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from typing import (
    Annotated,
    Final,
    ForwardRef,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from jobplane.encoding import is_pydantic

SCALARS: Final = frozenset({str, int, float, bool, type(None)})
"""The types that JSON has itself."""
_PLAIN: Final = frozenset({*SCALARS, list, dict, tuple, set, frozenset})
_ANYTHING: Final[tuple[object, ...]] = (vars(typing)["Any"], object, inspect.Parameter.empty)
_CONSTRAINTS: Final = frozenset({"pydantic", "annotated_types"})
_NOTES: Final = frozenset({"Unit", "DocInfo", "Doc"})
"""Members of annotated_types that constrain nothing."""
_ENFORCED: Final = frozenset(
    {"Gt", "Ge", "Lt", "Le", "MultipleOf", "MinLen", "MaxLen", "Len", "Interval", "Predicate", "Not"}
)
"""Members of annotated_types that pydantic enforces; it ignores what it does not know."""
_META: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")


@dataclasses.dataclass(slots=True)
class Survey:
    """What was found in an annotation and in the fields of the classes that it names.

    Attributes:
        pydantic: models or types of pydantic's, which only pydantic reads.
        secrets: types whose JSON form hides their value.
        constraints: pydantic's or annotated_types' constraints outside of models.
        unenforceable: the names of constraints that nobody enforces.
        metas: constraints by msgspec.Meta.
        untyped: places that take any JSON value, so that what arrives there is what JSON makes of it.
        texts: a union in which a text may be meant as a text, so that it must not become a time, a UUID or the like.
        plain: nothing but JSON's own types and containers of them.
        exact: the types of JSON that the annotation takes as they are; empty where it takes anything else too.
    """

    pydantic: bool = False
    secrets: bool = False
    constraints: bool = False
    unenforceable: list[str] = dataclasses.field(default_factory=list)
    metas: bool = False
    untyped: bool = False
    texts: bool = False
    plain: bool = True
    exact: frozenset[type] = frozenset()


def survey(annotation: object) -> Survey:
    """Look through an annotation: aliases, unions, generics, and the fields of classes."""
    found = Survey()
    _Walk(found).visit(annotation, modelled=False)
    members = _members(annotation)
    found.exact = frozenset(members) if members <= SCALARS else frozenset()
    return found


class _Walk:
    def __init__(self, found: Survey) -> None:
        self._found = found
        self._seen: set[tuple[int, bool]] = set()
        self._kept: list[object] = []  # an object that is gone could hand its id to another

    def visit(self, node: object, *, modelled: bool) -> None:
        """Look at a node and below. `modelled`: it is in a model, where constraints are the model's own matter."""
        if (id(node), modelled) in self._seen:
            return
        self._seen.add((id(node), modelled))
        self._kept.append(node)
        if node in _ANYTHING or isinstance(node, ForwardRef | str):
            self._found.untyped = True
            self._found.plain = False
        elif isinstance(node, TypeVar):
            self._variable(node, modelled=modelled)
        elif (
            origin := get_origin(node)
        ) is not None:  # before `__value__`, which Alias[int] has from its Alias
            self._generic(node, origin, modelled=modelled)
        elif hasattr(node, "__value__"):  # a `type` statement
            self.visit(node.__value__, modelled=modelled)
        elif hasattr(node, "__supertype__"):  # a NewType
            self.visit(node.__supertype__, modelled=modelled)
        elif isinstance(node, type):
            self._class(node, modelled=modelled)

    def _variable(self, node: TypeVar, *, modelled: bool) -> None:
        bounds = node.__constraints__ or ((node.__bound__,) if node.__bound__ is not None else (object,))
        for bound in bounds:
            self.visit(bound, modelled=modelled)

    def _generic(self, node: object, origin: object, *, modelled: bool) -> None:
        if origin is Literal:
            self._found.plain = False
            return
        if origin is Annotated:
            inner, *metadata = get_args(node)
            for one in metadata:
                self._metadata(one, modelled=modelled)
            self.visit(inner, modelled=modelled)
            return
        if isinstance(origin, type) and origin is not types.UnionType:
            self._class(origin, modelled=modelled, bare=not get_args(node))
        elif hasattr(origin, "__value__"):
            self.visit(origin, modelled=modelled)
        if origin in (Union, types.UnionType):
            self._union([member for member in get_args(node) if member is not type(None)])
        for argument in get_args(node):
            if argument is not Ellipsis:
                self.visit(argument, modelled=modelled)

    def _union(self, members: list[object]) -> None:
        if len(members) > 1 and not SCALARS.issuperset(members) and any(map(_names_text, members)):
            self._found.texts = True
        if sum(map(_is_array, members)) > 1:
            self._found.untyped = True

    def _metadata(self, one: object, *, modelled: bool) -> None:
        if isinstance(one, msgspec.Meta):
            self._found.plain = False
            if not modelled and any(getattr(one, name) is not None for name in _META):
                self._found.metas = True
            return
        bases = [base for base in type(one).__mro__ if base.__module__.partition(".")[0] in _CONSTRAINTS]
        hooked = hasattr(one, "__get_pydantic_core_schema__")
        if modelled or type(one).__name__ in _NOTES or not (bases or hooked) or _describes(one):
            return
        self._found.constraints = True
        self._found.plain = False
        foreign = not hooked and not any(base.__module__.partition(".")[0] == "pydantic" for base in bases)
        if foreign and not any(base.__name__ in _ENFORCED for base in bases):
            self._found.unenforceable.append(type(one).__name__)

    def _class(self, node: type, *, modelled: bool, bare: bool = True) -> None:
        found = self._found
        if node not in _PLAIN:
            found.plain = False
        if bare and issubclass(node, Iterable) and not issubclass(node, str | bytes) and not _fields(node):
            found.untyped = True  # a list or dict of anything
            found.plain = False
        if is_pydantic(node) or hasattr(node, "__get_pydantic_core_schema__"):
            found.pydantic = True
            found.secrets = found.secrets or hasattr(node, "get_secret_value")
            modelled = True
        for annotation in _fields(node):
            self.visit(annotation, modelled=modelled)


def _names_text(node: object) -> bool:
    return node is str or any(map(_names_text, get_args(node)))


def _is_array(node: object) -> bool:
    while get_origin(node) is Annotated:
        node = get_args(node)[0]
    kind = get_origin(node) or node
    return isinstance(kind, type) and issubclass(kind, list | tuple | set | frozenset)


def _describes(one: object) -> bool:
    """Whether this is pydantic's Field with a title or the like and nothing to enforce."""
    return type(one).__name__ == "FieldInfo" and not any(
        getattr(one, name, None) for name in ("metadata", "discriminator")
    )


def _fields(node: type) -> Collection[object]:
    modelled = getattr(node, "__pydantic_fields__", None)
    if isinstance(modelled, Mapping):
        return [getattr(field, "annotation", None) for field in modelled.values()]
    fielded = (
        dataclasses.is_dataclass(node)
        or hasattr(node, "__total__")  # a TypedDict, of typing's or of typing_extensions'
        or issubclass(node, msgspec.Struct)
        or hasattr(node, "__attrs_attrs__")
        or (issubclass(node, tuple) and hasattr(node, "_fields"))
    )
    if not fielded:
        return ()
    own = {parameter.__name__: parameter for parameter in getattr(node, "__type_params__", ())}
    try:
        return get_type_hints(
            node, localns={**vars(sys.modules[node.__module__]), **own}, include_extras=True
        ).values()
    except (NameError, TypeError, KeyError, AttributeError):
        return ()  # whoever decodes it says what is wrong with it


def _members(annotation: object) -> frozenset[type]:
    """The types that a parameter takes; {object} for an annotation that is more than a union of classes."""
    while hasattr(annotation, "__value__"):
        annotation = annotation.__value__
    if annotation is None:
        return frozenset({type(None)})
    if get_origin(annotation) in (Union, types.UnionType):
        return frozenset().union(*map(_members, get_args(annotation)))
    return frozenset({annotation if isinstance(annotation, type) else object})
