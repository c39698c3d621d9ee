"""How one parameter's values become JSON: by msgspec, or by pydantic where the annotation is pydantic's.

Whichever it is, an argument that would not reach the handler as it was given is refused when it is enqueued.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from jobplane.annotations import Survey, survey
from jobplane.comparison import difference
from jobplane.differences import Difference, Leeway
from jobplane.encoding import as_stored, is_pydantic, pydantic_codec
from jobplane.errors import TaskDefinitionError

if TYPE_CHECKING:
    from jobplane.pydantic_codec import PydanticCodec


_BASES: Final = (str, int, float, bytes, datetime, date, time, timedelta, Decimal)
"""Classes whose subclasses travel as the plain value, and are made of it again where they are annotated."""


class _Makes(Protocol):
    def __call__(self, *args: object, **kwargs: object) -> object: ...


class Codec(Protocol):
    """The way of one parameter's values into JSON and out of it.

    Attributes:
        exact: types of JSON's own whose values need neither conversion nor check.
        field: the annotation of the field that the worker's decoder has for it.
    """

    @property
    def exact(self) -> frozenset[type]: ...
    @property
    def field(self) -> object: ...
    def encode(self, value: object) -> object:
        """The value as JSON's own types. Raises TypeError or ValueError for what has no such form."""

    def decode(self, value: object) -> object:
        """The argument, from what the decoder made of the field."""

    def difference(self, given: object, back: object) -> Difference | None:
        """Where an argument came back as something else."""


class MsgspecCodec:
    """Values that msgspec reads; models inside of its structs and dataclasses are handed to pydantic."""

    def __init__(self, annotation: object, found: Survey) -> None:
        self.field = annotation
        self.exact = found.exact
        self._plain = found.plain
        self._leeway = leeway_of(found)

    def encode(self, value: object) -> object:
        """See Codec."""
        if self._plain and type(value) in {list, dict}:
            return value
        return msgspec.to_builtins(value, enc_hook=as_stored)

    def decode(self, value: object) -> object:
        """See Codec."""
        return value

    def difference(self, given: object, back: object) -> Difference | None:
        """See Codec."""
        if self._plain and type(given) is type(back) and given == back:
            return None  # msgspec has checked the types of what is in it
        return difference(given, back, leeway=self._leeway)


class ModelCodec:
    """Values that pydantic reads, from the raw JSON: its strict mode takes the text of a time there and nowhere else."""

    exact: frozenset[type] = frozenset()
    field = msgspec.Raw

    def __init__(self, codec: PydanticCodec) -> None:
        self._codec = codec

    def encode(self, value: object) -> object:
        """See Codec."""
        return self._codec.encode(value)

    def decode(self, value: object) -> object:
        """See Codec."""
        return self._codec.decode(bytes(value)) if isinstance(value, msgspec.Raw) else value

    def difference(self, given: object, back: object) -> Difference | None:  # noqa: ARG002 - encode has looked
        """See Codec."""
        return None


def leeway_of(found: Survey) -> Leeway:
    """Which other forms of a value its annotation says how to read."""
    arrays = Leeway.NONE if found.untyped else Leeway.ARRAYS
    return arrays | (Leeway.NONE if found.texts else Leeway.TEXTS)


def codec_for(annotation: object, name: str) -> Codec:
    """The codec of a parameter; `name` stands in errors, such as "send: parameter limit".

    Raises TaskDefinitionError where a constraint would not be enforced.
    """
    found = survey(annotation)
    if found.unenforceable:
        raise TaskDefinitionError(
            f"{name}: nothing enforces {', '.join(found.unenforceable)}; check the value in the handler instead"
        )
    if not (found.pydantic or found.constraints):
        return MsgspecCodec(annotation, found)
    try:
        codec = ModelCodec(
            pydantic_codec().PydanticCodec(annotation, secrets=found.secrets, leeway=leeway_of(found))
        )
    except Exception as error:
        if found.constraints or isinstance(error, ImportError):
            raise TaskDefinitionError(
                f"{name}: its constraints need pydantic, which cannot read the annotation ({_first_line(error)}); "
                "in msgspec structs use msgspec.Meta"
            ) from error
        return MsgspecCodec(annotation, found)
    if found.metas:
        raise TaskDefinitionError(
            f"{name}: pydantic reads this annotation and does not enforce msgspec.Meta; use pydantic.Field there"
        )
    return codec


def decode_model(expected: type, value: object) -> object:
    """An instance of a class that msgspec does not know (its `dec_hook`)."""
    if isinstance(expected, type):
        if is_pydantic(expected):
            return pydantic_codec().codec_of(expected).decode(msgspec.json.encode(value))
        if isinstance(value, expected):  # object, or a protocol that a value of JSON's types has
            return value
        for base in _BASES:
            if issubclass(expected, base):
                return _as_subclass(cast("_Makes", expected), msgspec.convert(value, base))
    name = getattr(expected, "__name__", str(expected))
    raise TypeError(f"{name} is not a type that JSON can hold")


def _as_subclass(expected: _Makes, plain: object) -> object:
    match plain:
        case datetime():
            parts = (
                plain.year,
                plain.month,
                plain.day,
                plain.hour,
                plain.minute,
                plain.second,
                plain.microsecond,
            )
            return expected(*parts, tzinfo=plain.tzinfo)
        case date():
            return expected(plain.year, plain.month, plain.day)
        case time():
            return expected(plain.hour, plain.minute, plain.second, plain.microsecond, tzinfo=plain.tzinfo)
        case timedelta():
            return expected(days=plain.days, seconds=plain.seconds, microseconds=plain.microseconds)
        case _:
            return expected(plain)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
