"""The plain JSON form of values that msgspec does not write by itself.

Subclasses of str, int, float, datetime and the like (NumPy scalars, pendulum's times, the safe strings of template
engines) become the plain value; mappings, sequences and sets of any class become objects and arrays; pydantic models
become what their own `model_dump(mode="json")` says, with their secrets in plain: what is stored must be readable by
whoever it was stored for.
"""

from __future__ import annotations

import operator
from collections import UserString
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from numbers import Integral, Rational, Real
from types import ModuleType
from typing import Final, SupportsIndex

import msgspec

MAX_ITEMS: Final = 512 * 1024
"""Items of one foreign mapping, sequence or set: each takes two bytes of JSON, and no limit is above 1 MiB."""
_PYDANTIC: Final = frozenset({"pydantic", "pydantic_core", "pydantic_extra_types"})
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


def may_fit(value: object, most_bytes: int) -> bool:
    """False if the JSON of a value is certain to be longer than `most_bytes`.

    Writing a value first and measuring it then would take as much memory as the value pretends to have: a list that
    holds one long string a million times is small until it is written. This looks at no more than `most_bytes` items.
    """
    size, stack = 0, [value]
    while stack and size <= most_bytes:
        item = stack.pop()
        if isinstance(item, str | bytes | bytearray):
            size += len(item) + 2
            continue
        size += 1
        if isinstance(item, Mapping):
            size += 4 * len(item)
            if size <= most_bytes:
                stack.extend(item.values())
        elif isinstance(item, Sequence | AbstractSet):
            size += len(item)
            if size <= most_bytes:
                stack.extend(item)
        elif isinstance(item, msgspec.Struct):
            stack.extend(getattr(item, name, None) for name in item.__struct_fields__)
        elif hasattr(item, "__dict__") and not isinstance(item, type):
            stack.extend(vars(item).values())
    return size <= most_bytes


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
