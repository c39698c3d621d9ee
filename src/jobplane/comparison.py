"""Whether a value that travelled as JSON came back as what it was, and where it did not.

`==` alone does not say so. It is true for 1 and True and for models whose class compares only some of their fields; it
is false for equal times in the hour that a change of clocks repeats, and for objects of classes without `__eq__`.
"""

from __future__ import annotations

import dataclasses
import re
from collections import UserString
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import zip_longest
from typing import Final
from uuid import UUID

import msgspec

from jobplane.encoding import plain_scalar

_MISSING: Final = object()
_FINER: Final = re.compile(r"\.\d{6}\d*[1-9]")
"""A fraction of a second below the microsecond, which a datetime cannot hold."""
_ATOMS: Final = frozenset({str, int, float, bytes, UUID})
_BYTES: Final = (bytes, bytearray, memoryview)
_SCALARS: Final = (str, UserString, *_BYTES, datetime, date, time, timedelta, Decimal)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The first place where what came back is not what was given.

    Attributes:
        place: the path to it, such as `.address.lines[2]`; empty for the value itself.
        reason: what differs, without either value: arguments may be private.
    """

    place: str
    reason: str

    def under(self, place: str) -> Difference:
        """The same difference, seen from one level further out."""
        return Difference(place + self.place, self.reason)


class MisfitError(ValueError):
    """JSON does not stand for a value of the annotation."""


class UnequalError(ValueError):
    """A value does not come back as it was."""

    def __init__(self, found: Difference) -> None:
        super().__init__(found.reason)
        self.difference = found


def difference(given: object, back: object, *, untyped: bool = False) -> Difference | None:
    """The first difference between a value that was given and what the handler would be given; None if there is none.

    Args:
        given: the argument of the caller.
        back: the same after its way through JSON, as the annotation says.
        untyped: whether the annotation leaves open what an array becomes, so that a tuple would arrive as a list
            without anybody having asked for one.
    """
    if given is back:
        return None
    if type(given) is type(back) and type(given) in _ATOMS:
        return None if given == back else _changed(given)
    if isinstance(given, Enum) or isinstance(back, Enum):
        return _of_enums(given, back)
    if isinstance(given, (bool, *_SCALARS)) or isinstance(back, bool):
        return _of_scalars(given, back)
    kind: type = type(back)
    fields = _fields_of(kind)
    if fields is not None:
        return _of_fields(given, back, fields, untyped=untyped)
    if isinstance(given, Mapping):
        return _of_mappings(given, back, untyped=untyped)
    if isinstance(given, Sequence | AbstractSet):
        return _of_arrays(given, back, untyped=untyped)
    return _of_others(given, back)


def _of_scalars(given: object, back: object) -> Difference | None:
    if isinstance(back, bool) or isinstance(given, bool):
        return None if _plain(given) is back else _kinds(given, back)
    if isinstance(given, str | UserString):
        return _of_text(given, back)
    if isinstance(given, _BYTES):
        same = isinstance(back, _BYTES) and bytes(given) == bytes(back)
        return None if same else _kinds(given, back)
    return _of_times_and_decimals(given, back)


def _plain(value: object) -> object:
    return value if type(value) is bool else plain_scalar(value)


def _of_enums(given: object, back: object) -> Difference | None:
    if isinstance(given, Enum) and isinstance(back, Enum):
        return None if type(given) is type(back) and given == back else _kinds(given, back)
    if isinstance(back, Enum):  # given as its value, which is how it is stored
        same = type(given) in {str, int} and given == back.value
    else:  # a str or int that is also an Enum is taken as what it is
        same = isinstance(given, str | int) and type(back) in {str, int} and _plain(given) == back
    return None if same else _kinds(given, back)


def _of_text(given: str | UserString, back: object) -> Difference | None:
    text = str.__str__(given) if isinstance(given, str) else str(given)
    if isinstance(back, str):
        return None if text == str.__str__(back) else _changed(given)
    if back is None or isinstance(back, (int, float, list, tuple, dict, set, frozenset, *_BYTES)):
        return _kinds(given, back)
    # A time, UUID, secret or the like that was given as its text, which the annotation says how to read.
    if isinstance(back, datetime | time | timedelta) and _FINER.search(text):
        return Difference("", f"a text that a {_kind(back)} cannot hold: it is finer than a microsecond")
    return None


def _of_times_and_decimals(given: object, back: object) -> Difference | None:
    if isinstance(given, datetime) and isinstance(back, datetime):
        # Not compared as they are: times of two zones are never equal in an hour that a change of clocks repeats.
        return _of_clock_times(given, back)
    if isinstance(given, time) and isinstance(back, time):
        return _of_clock_times(given, back)
    if isinstance(given, Decimal):
        same = isinstance(back, Decimal) and given.as_tuple() == back.as_tuple()
        return None if same else _kinds(given, back)
    for kind in (date, timedelta):
        if isinstance(given, kind) and isinstance(back, kind) and not isinstance(back, datetime):
            return None if given == back and not isinstance(given, datetime) else _kinds(given, back)
    return _kinds(given, back)


def _of_clock_times(given: datetime | time, back: datetime | time) -> Difference | None:
    if given.replace(tzinfo=None, fold=0) != back.replace(tzinfo=None, fold=0):
        return _changed(given)
    if (given.tzinfo is None) != (back.tzinfo is None):
        return Difference(
            "", f"a {_kind(given)} whose time zone has no fixed offset, so that it would be lost"
        )
    if given.utcoffset() != back.utcoffset():
        return Difference("", f"a {_kind(given)} whose offset from UTC is not of whole minutes")
    # Of stdlib's own only: some libraries set fold on all of their times.
    if given.tzinfo is None and given.fold != back.fold and type(given) is type(back):
        return Difference("", f"a {_kind(given)} without a time zone, whose fold would be lost")
    return None


def _of_mappings(given: Mapping[object, object], back: object, *, untyped: bool) -> Difference | None:
    if not isinstance(back, Mapping):
        return _kinds(given, back)
    for key in given:
        if key not in back:
            return Difference(_item(key), "an item that would be lost, or whose key would change")
        if (found := difference(given[key], back[key], untyped=untyped)) is not None:
            return found.under(_item(key))
    return None if len(given) == len(back) else _changed(given)


def _of_arrays(
    given: Sequence[object] | AbstractSet[object], back: object, *, untyped: bool
) -> Difference | None:
    if isinstance(given, AbstractSet):
        return _of_sets(given, back)
    return _of_sequences(given, back, untyped=untyped)


def _of_sets(given: AbstractSet[object], back: object) -> Difference | None:
    if not isinstance(back, set | frozenset):
        return _kinds(given, back)
    same = len(given) == len(back) and all(item in given for item in back)
    return None if same and _bools(given) == _bools(back) else _changed(given)


def _bools(items: Iterable[object]) -> int:
    return sum(isinstance(item, bool) for item in items)


def _of_sequences(given: Sequence[object], back: object, *, untyped: bool) -> Difference | None:
    if isinstance(back, set | frozenset):  # given as a list, which is how it is stored
        same = isinstance(given, list) and len(given) == len(back) and all(item in back for item in given)
        return None if same else _kinds(given, back)
    if not isinstance(back, list | tuple) or (
        untyped and isinstance(back, list) and not isinstance(given, list)
    ):
        return _kinds(given, back)
    for index, (item, item_back) in enumerate(zip_longest(given, back, fillvalue=_MISSING)):
        if item is _MISSING or item_back is _MISSING:
            return Difference("", f"a {_kind(given)} of another length")
        if (found := difference(item, item_back, untyped=untyped)) is not None:
            return found.under(f"[{index}]")
    return None


def _of_fields(given: object, back: object, fields: Mapping[str, str], *, untyped: bool) -> Difference | None:
    if type(back) is type(given) or _origin(type(back)) is type(given):
        pairs = [
            (name, getattr(given, name, _MISSING), getattr(back, name, _MISSING)) for name in fields.values()
        ]
        for extra in ("__pydantic_extra__", "__pydantic_private__"):
            theirs, ours = getattr(given, extra, None) or {}, getattr(back, extra, None) or {}
            pairs += [
                (name, theirs.get(name, _MISSING), ours.get(name, _MISSING)) for name in {**theirs, **ours}
            ]
    elif type(given) is dict:
        # Given as the object that is stored: whatever stands in it must be found in what was made of it.
        extras = getattr(back, "__pydantic_extra__", None) or {}
        tag = back.__struct_config__.tag_field if isinstance(back, msgspec.Struct) else None
        pairs = [
            (
                str(key),
                value,
                extras.get(key, _MISSING) if key not in fields else getattr(back, fields[key], _MISSING),
            )
            for key, value in given.items()
            if key != tag
        ]
    else:
        return _kinds(given, back)
    for name, value, value_back in pairs:
        if value is not value_back and _MISSING in (value, value_back):
            return Difference(f".{name}", "a field that would be lost")
        if (found := difference(value, value_back, untyped=untyped)) is not None:
            return found.under(f".{name}")
    return None


def _of_others(given: object, back: object) -> Difference | None:
    if isinstance(given, int | float) or isinstance(back, int | float):
        given = _plain(given)
        numbers = isinstance(given, int | float) and isinstance(back, int | float | Decimal)
        return None if numbers and given == back else _kinds(given, back)
    if type(given).__eq__ is object.__eq__:
        return Difference("", f"a {_kind(given)}, whose class does not say what makes two of it equal")
    return None if given == back else _kinds(given, back)


@lru_cache(maxsize=1000)
def _fields_of(kind: type) -> Mapping[str, str] | None:
    """The fields of a class by the names that they may be stored under; None for a class without."""
    if issubclass(kind, msgspec.Struct):
        own = kind.__struct_fields__
        return {**dict(zip(kind.__struct_encode_fields__, own, strict=True)), **{name: name for name in own}}
    modelled = getattr(kind, "__pydantic_fields__", None)
    if isinstance(modelled, Mapping):
        return {name: own for own, field in modelled.items() for name in (*_aliases(field), own)}
    if dataclasses.is_dataclass(kind):
        return {field.name: field.name for field in dataclasses.fields(kind)}
    described = getattr(kind, "__attrs_attrs__", None)
    return None if described is None else {field.name: field.name for field in described}


def _origin(kind: type) -> object:
    """Of a parametrised model such as Page[int] the generic one, which may be annotated with its parameters alone."""
    return getattr(kind, "__pydantic_generic_metadata__", {}).get("origin")


def _aliases(field: object) -> Iterable[str]:
    for alias in (getattr(field, "alias", None), getattr(field, "validation_alias", None)):
        choices = getattr(alias, "choices", (alias,))
        yield from (choice for choice in choices if isinstance(choice, str))


def _kinds(given: object, back: object) -> Difference:
    if type(given) is type(back):
        return _changed(given)
    return Difference("", f"a {_kind(given)} that would arrive as a {_kind(back)}")


def _changed(given: object) -> Difference:
    return Difference("", f"a {_kind(given)} that would arrive changed")


def _kind(value: object) -> str:
    return type(value).__name__


def _item(key: object) -> str:
    # The key of a mapping may be private: its place is enough where it is no identifier.
    return f".{key}" if isinstance(key, str) and key.isidentifier() and len(key) <= 40 else "[...]"
