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

from jobplane.differences import Difference, Leeway, changed, item_place, kind_of, kinds
from jobplane.encoding import plain_scalar

_MISSING: Final = object()
_FINER: Final = re.compile(r"\.\d{6}\d*[1-9]")
"""A fraction of a second below the microsecond, which a datetime cannot hold."""
_ATOMS: Final = frozenset({str, int, float, bytes, UUID})
_BYTES: Final = (bytes, bytearray, memoryview)
_SCALARS: Final = (str, UserString, *_BYTES, datetime, date, time, timedelta, Decimal)


def difference(given: object, back: object, *, leeway: Leeway = Leeway.ALL) -> Difference | None:
    """The first difference between a value that was given and what the handler would be given; None if there is none.

    Args:
        given: the argument of the caller.
        back: the same after its way through JSON, as the annotation says.
        leeway: which other forms of the same value are taken, where the annotation says what they stand for.
    """
    if given is back:
        return None
    if type(given) is type(back) and type(given) in _ATOMS:
        return None if given == back else changed(given)
    if isinstance(given, Enum) or isinstance(back, Enum):
        return _of_enums(given, back, leeway=leeway)
    if isinstance(given, (bool, *_SCALARS)) or isinstance(back, bool):
        return _of_scalars(given, back, leeway=leeway)
    kind: type = type(back)
    fields = _fields_of(kind)
    if fields is not None:
        return _of_fields(given, back, fields, leeway=leeway)
    if isinstance(given, Mapping):
        return _of_mappings(given, back, leeway=leeway)
    if isinstance(given, Sequence | AbstractSet):
        return _of_arrays(given, back, leeway=leeway)
    return _of_others(given, back)


def _of_scalars(given: object, back: object, *, leeway: Leeway) -> Difference | None:
    if isinstance(back, bool) or isinstance(given, bool):
        return None if _plain(given) is back else kinds(given, back)
    if isinstance(given, str | UserString):
        return _of_text(given, back, leeway=leeway)
    if isinstance(given, _BYTES):
        same = isinstance(back, _BYTES) and bytes(given) == bytes(back)
        return None if same else kinds(given, back)
    return _of_times_and_decimals(given, back)


def _plain(value: object) -> object:
    return value if type(value) is bool else plain_scalar(value)


def _of_enums(given: object, back: object, *, leeway: Leeway) -> Difference | None:
    if isinstance(given, Enum) and isinstance(back, Enum):
        return None if type(given) is type(back) and given == back else kinds(given, back)
    if isinstance(back, Enum):  # given as its value, which is how it is stored
        same = type(given) in {str, int} and given == back.value and bool(leeway & Leeway.TEXTS)
    else:  # a str or int that is also an Enum is taken as what it is
        # ... unless it stands where the member itself could have arrived.
        same = (
            isinstance(given, str | int)
            and type(back) in {str, int}
            and _plain(given) == back
            and bool(leeway)
        )
    return None if same else kinds(given, back)


def _of_text(given: str | UserString, back: object, *, leeway: Leeway) -> Difference | None:
    text = str.__str__(given) if isinstance(given, str) else str(given)
    if isinstance(back, str):
        return None if text == str.__str__(back) else changed(given)
    if (
        not leeway & Leeway.TEXTS
        or back is None
        or isinstance(back, (int, float, list, tuple, dict, set, frozenset, *_BYTES))
    ):
        return kinds(given, back)
    # A time, UUID, secret or the like that was given as its text, which the annotation says how to read.
    if isinstance(back, datetime | time | timedelta) and _FINER.search(text):
        return Difference("", f"a text that a {kind_of(back)} cannot hold: it is finer than a microsecond")
    return None


def _of_times_and_decimals(given: object, back: object) -> Difference | None:
    if isinstance(given, datetime) and isinstance(back, datetime):
        # Not compared as they are: times of two zones are never equal in an hour that a change of clocks repeats.
        return _of_clock_times(given, back)
    if isinstance(given, time) and isinstance(back, time):
        return _of_clock_times(given, back)
    if isinstance(given, Decimal):
        same = isinstance(back, Decimal) and given.as_tuple() == back.as_tuple()
        return None if same else kinds(given, back)
    for kind in (date, timedelta):
        if isinstance(given, kind) and isinstance(back, kind) and not isinstance(back, datetime):
            return None if given == back and not isinstance(given, datetime) else kinds(given, back)
    return kinds(given, back)


def _of_clock_times(given: datetime | time, back: datetime | time) -> Difference | None:
    if given.replace(tzinfo=None, fold=0) != back.replace(tzinfo=None, fold=0):
        return changed(given)
    if (given.tzinfo is None) != (back.tzinfo is None):
        return Difference(
            "", f"a {kind_of(given)} whose time zone has no fixed offset, so that it would be lost"
        )
    if given.utcoffset() != back.utcoffset():
        return Difference("", f"a {kind_of(given)} whose offset from UTC is not of whole minutes")
    # Of stdlib's own only: some libraries set fold on all of their times.
    if given.tzinfo is None and given.fold != back.fold and type(given) is type(back):
        return Difference("", f"a {kind_of(given)} without a time zone, whose fold would be lost")
    return None


def _of_mappings(given: Mapping[object, object], back: object, *, leeway: Leeway) -> Difference | None:
    if not isinstance(back, Mapping):
        return kinds(given, back)
    for key in given:
        if key not in back:
            return Difference(item_place(key), "an item that would be lost, or whose key would change")
        if (found := difference(given[key], back[key], leeway=leeway)) is not None:
            return found.under(item_place(key))
    return None if len(given) == len(back) else changed(given)


def _of_arrays(
    given: Sequence[object] | AbstractSet[object], back: object, *, leeway: Leeway
) -> Difference | None:
    if isinstance(given, AbstractSet):
        return _of_sets(given, back, leeway=leeway)
    return _of_sequences(given, back, leeway=leeway)


def _of_sets(given: AbstractSet[object], back: object, *, leeway: Leeway) -> Difference | None:
    if not isinstance(back, set | frozenset) or (
        not leeway & Leeway.ARRAYS and isinstance(given, set) != isinstance(back, set)
    ):
        return kinds(given, back)
    same = len(given) == len(back) and all(item in given for item in back)
    return None if same and _bools(given) == _bools(back) else changed(given)


def _bools(items: Iterable[object]) -> int:
    return sum(isinstance(item, bool) for item in items)


def _of_sequences(given: Sequence[object], back: object, *, leeway: Leeway) -> Difference | None:
    if isinstance(back, set | frozenset):  # given as a list, which is how it is stored
        listed = isinstance(given, list) and bool(leeway & Leeway.ARRAYS)
        same = listed and len(given) == len(back) and all(item in back for item in given)
        return None if same else kinds(given, back)
    if not isinstance(back, list | tuple) or (
        not leeway & Leeway.ARRAYS and isinstance(back, list) != isinstance(given, list)
    ):
        return kinds(given, back)
    for index, (item, item_back) in enumerate(zip_longest(given, back, fillvalue=_MISSING)):
        if item is _MISSING or item_back is _MISSING:
            return Difference("", f"a {kind_of(given)} of another length")
        if (found := difference(item, item_back, leeway=leeway)) is not None:
            return found.under(f"[{index}]")
    return None


def _of_fields(
    given: object, back: object, fields: Mapping[str, str], *, leeway: Leeway
) -> Difference | None:
    made = type(given) is not dict
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
        return kinds(given, back)
    for name, value, value_back in pairs:
        if value is not value_back and _MISSING in (value, value_back):
            return Difference(f".{name}", "a field that would be lost")
        # A field was made by its class: what it holds is what was meant, and the handler is to find just that.
        if (found := difference(value, value_back, leeway=Leeway.NONE if made else leeway)) is not None:
            return found.under(f".{name}")
    return None


def _of_others(given: object, back: object) -> Difference | None:
    if isinstance(given, int | float) or isinstance(back, int | float):
        given = _plain(given)
        numbers = isinstance(given, int | float) and isinstance(back, int | float | Decimal)
        return None if numbers and given == back else kinds(given, back)
    if type(given).__eq__ is object.__eq__:
        return Difference("", f"a {kind_of(given)}, whose class does not say what makes two of it equal")
    return None if given == back else kinds(given, back)


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
