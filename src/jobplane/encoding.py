"""The plain JSON form of values that msgspec does not write by itself.

Subclasses of str, int, float, datetime and the like (NumPy scalars, pendulum's times, the safe strings of template
engines) become the plain value; mappings, sequences and sets of any class become objects and arrays; pydantic models
become what their own `model_dump(mode="json")` says, with their secrets in plain: what is stored must be readable by
whoever it was stored for.
"""

from __future__ import annotations

import operator
from collections import UserString
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from itertools import islice
from numbers import Integral, Rational, Real
from types import ModuleType
from typing import Final, SupportsIndex

import msgspec

MAX_ITEMS: Final = 512 * 1024
"""Items of one foreign mapping, sequence or set: each takes two bytes of JSON, and no limit is above 1 MiB."""
_PYDANTIC: Final = frozenset({"pydantic", "pydantic_core", "pydantic_extra_types"})
_TEXT: Final = (str, bytes, bytearray, UserString)
_SMALL: Final = frozenset({int, float, bool, type(None)})
_NO_KEYS: Final = (bool, type(None), tuple, list, dict, set, frozenset)

# Not the names of the classes: programs that freeze time replace those in every module, and then a plain datetime
# could no longer be made.
_make_datetime: Final = partial(datetime)
_make_date: Final = partial(date)
_timedelta_parts: Final = (timedelta.days, timedelta.seconds, timedelta.microseconds)


def as_json(value: object) -> object:
    """What to write instead of a value whose class msgspec does not know (its `enc_hook`).

    Raises TypeError, which names the class and never the value, for what JSON cannot hold.
    """
    if isinstance(value, _NO_KEYS) and type(value) in _NO_KEYS:
        raise TypeError(f"a {type(value).__name__} cannot be a key of a JSON object")
    if is_pydantic(type(value)):
        return pydantic_codec().json_form(value)
    plain = plain_scalar(value)
    return _collection(value) if plain is value else plain


def as_stored(value: object) -> object:
    """Like as_json, for what a handler will be given: models in the form that their class can read again."""
    if is_pydantic(type(value)):
        return pydantic_codec().codec_of(type(value)).encode(value)
    return as_json(value)


def plain_scalar(value: object) -> object:
    """The plain value of an instance of a subclass of JSON's scalar types, of times, bytes and decimals.

    Numbers and truth values that are no such subclass but stand for one (numpy.int64, numpy.bool_) are converted
    where that is exact. Anything else is returned as it is.
    """
    match value:
        case str():
            return str.__str__(value)
        case UserString():
            return str(value)
        case int():
            return value if type(value) is bool else int.__index__(value)
        case float():
            return float.__float__(value)
        case bytes() | bytearray():
            return bytes(value)
        case _:
            plain = _plain_time(value)
            return _plain_number(value) if plain is value else plain


def plain_datetime(value: datetime) -> datetime:
    """A datetime of the standard class, whatever subclass it was given as. Raises TypeError for nanoseconds."""
    plain = _make_datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )
    if plain.replace(tzinfo=None) != value.replace(tzinfo=None):
        raise TypeError(f"{type(value).__name__} is finer than a microsecond")
    return plain


def plain_timedelta(value: timedelta) -> timedelta:
    """A timedelta of the standard class. Raises TypeError for nanoseconds."""
    # Subclasses redefine `days` and `seconds`, so the base class is asked.
    plain = timedelta(*(part.__get__(value) for part in _timedelta_parts))
    if plain != value:
        raise TypeError(f"{type(value).__name__} is finer than a microsecond")
    return plain


def is_pydantic(kind: type) -> bool:
    """Whether pydantic knows how to write instances of a class."""
    return (
        hasattr(kind, "__pydantic_serializer__")
        or hasattr(kind, "get_secret_value")
        or str(kind.__module__).partition(".")[0] in _PYDANTIC
    )


def pydantic_codec() -> ModuleType:
    """jobplane.pydantic_codec, imported only once something of pydantic's is in sight: pydantic stays optional."""
    from jobplane import pydantic_codec as module  # noqa: PLC0415 - see above

    return module


class Excess(Enum):
    """Why a value cannot be stored, found before it is written."""

    SIZE = "size"
    DEPTH = "depth"


def excess_of(value: object, most_bytes: int, most_levels: int) -> Excess | None:
    """What of a value's JSON is certain to be beyond its limit; None where only writing it can tell.

    Writing a value first and measuring it then would take as much memory as the value pretends to have: a list that
    holds one long string a million times is small until it is written. This looks at no more than `most_bytes` items.
    """
    size, level = 0, [value]
    for _ in range(most_levels + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, _TEXT):
                size += len(item) + 2
            elif type(item) in _SMALL:
                size += 1
            else:
                content = _content(item)
                size += 1 + (2 if isinstance(item, dict) else 1) * len(content)
                if size <= most_bytes:
                    below += content
            if size > most_bytes:
                return Excess.SIZE
        if not below:
            return None
        level = below
    return Excess.DEPTH


def _content(item: object) -> Collection[object]:
    """What is written inside of a value."""
    if isinstance(item, dict):
        return item.values()
    if isinstance(item, list | tuple):
        return item
    if isinstance(item, Mapping):
        return item.values()
    if isinstance(item, Sequence | AbstractSet) and not isinstance(item, memoryview):
        return item
    kind: type = type(item)
    return [getattr(item, name, None) for name in _written_fields(kind)]


@lru_cache(maxsize=1000)
def _written_fields(kind: type) -> tuple[str, ...]:
    """The fields of a class whose values are certain to be in its JSON: what is left out must not count."""
    if issubclass(kind, msgspec.Struct):
        return () if kind.__struct_config__.omit_defaults else kind.__struct_fields__
    modelled = getattr(kind, "__pydantic_fields__", None)
    if isinstance(modelled, Mapping):
        own = getattr(kind, "__pydantic_decorators__", None)
        if getattr(own, "model_serializers", None) or getattr(own, "field_serializers", None):
            return ()
        return tuple(
            name
            for name, field in modelled.items()
            if not (field.exclude or getattr(field, "metadata", None))
        )
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _plain_time(value: object) -> object:
    match value:
        case datetime():
            return plain_datetime(value)
        case date():
            return _make_date(value.year, value.month, value.day)
        case time():
            return time(
                value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold
            )
        case timedelta():
            return plain_timedelta(value)
        case Decimal():
            return Decimal(value)
        case _:
            return value


def _plain_number(value: object) -> object:
    if isinstance(value, Integral):
        return operator.index(value)
    if hasattr(value, "__len__"):  # an array, even one that would be a number if it were asked
        return value
    if isinstance(value, Real) and not isinstance(value, Rational):
        plain = float(value)
        if plain == value or plain != plain:  # noqa: PLR0124 - NaN, which is refused elsewhere, with its place
            return plain
        raise TypeError(f"{type(value).__name__} holds more digits than a JSON number is read with")
    item = getattr(value, "item", None)
    if callable(item) and isinstance(plain := item(), bool):
        return plain
    return operator.index(value) if isinstance(value, SupportsIndex) else value


def _collection(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: value[key] for key in islice(value, _bounded(value))}
    if isinstance(value, Sequence | AbstractSet):
        return list(islice(value, _bounded(value)))
    raise TypeError(f"{type(value).__name__} is not a type that JSON can hold")


def _bounded(value: Mapping[object, object] | Sequence[object] | AbstractSet[object]) -> int:
    length = len(value)
    if length > MAX_ITEMS:
        raise TypeError(f"{type(value).__name__} of {length} items is too long to be stored")
    return length
