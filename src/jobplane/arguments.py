"""A handler's arguments to a JSON object and back, checked against its annotations on both ways.

msgspec does the work for JSON's types, datetimes, UUIDs, enums, dataclasses, TypedDicts and its own structs;
pydantic models are recognised by their methods, so that pydantic stays optional.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast, get_type_hints, runtime_checkable

import msgspec

from jobplane.context import JobContext
from jobplane.errors import InvalidArgumentsError, TaskDefinitionError
from jobplane.limits import MAX_JSON_DEPTH
from jobplane.payload import nests_too_deep

# msgspec quotes a value that is no member of an enum; the place that follows says enough, and the value may be private.
_QUOTED_VALUE: Final = re.compile(r"(Invalid (?:enum )?value).*?(?= - at `[^`]*`$|$)", re.DOTALL)


class Handler(Protocol):
    """What runs a job, whatever its parameters."""

    def __call__(self, *args: object, **kwargs: object) -> object: ...


@runtime_checkable
class _PydanticModel(Protocol):
    def model_dump(self, *, mode: str) -> dict[str, object]: ...

    @classmethod
    def model_validate(cls, value: object) -> object: ...


@runtime_checkable
class _PydanticError(Protocol):
    def errors(
        self, *, include_url: bool, include_context: bool, include_input: bool
    ) -> list[dict[str, object]]: ...


class Arguments:
    """How one handler's parameters travel.

    Attributes:
        wants_context: whether the first parameter is a JobContext, which is injected, never stored.
    """

    def __init__(self, handler: Handler, *, skip_self: bool = False) -> None:
        name = getattr(handler, "__qualname__", repr(handler))
        self._name = name
        parameters = list(inspect.signature(handler).parameters.values())[1 if skip_self else 0 :]
        hints = _hints(handler, name)
        self.wants_context = bool(parameters) and hints.get(parameters[0].name) is JobContext
        stored = parameters[1:] if self.wants_context else parameters
        for parameter in stored:
            _refuse_unstorable(parameter, hints, name)
        self._signature = inspect.Signature(stored)
        self._known = frozenset(parameter.name for parameter in stored)
        self._required = frozenset(p.name for p in stored if p.default is p.empty)
        self._positional = tuple(p.name for p in stored if p.kind is p.POSITIONAL_OR_KEYWORD)
        self._decoder = _decoder_for(stored, hints, name)

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The arguments as a JSON object's values, already validated the way the worker will.

        Raises InvalidArgumentsError, which names the argument that does not fit.
        """
        bound = self._bound(args, kwargs)
        try:
            values: dict[str, object] = msgspec.to_builtins(bound, enc_hook=_encode_model)
            encoded = msgspec.json.encode(values)
        except RecursionError:
            raise self._nest_too_deep() from None
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidArgumentsError(
                "arguments", str(error), f"of {self._name} must be JSON-serialisable"
            ) from None
        self.decode(encoded)
        return values

    def decode(self, payload: str | bytes) -> dict[str, object]:
        """The stored object as keyword arguments. Unknown members are ignored: another version wrote them."""
        if nests_too_deep(payload):
            raise self._nest_too_deep()
        try:
            values = self._decoder.decode(payload)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            told = _QUOTED_VALUE.sub(r"\1", str(error))
            raise InvalidArgumentsError(
                "arguments", told, f"must fit {self._name}{self._signature}"
            ) from error
        return msgspec.structs.asdict(values)

    def _nest_too_deep(self) -> InvalidArgumentsError:
        return InvalidArgumentsError(
            "arguments",
            f"JSON that nests deeper than {MAX_JSON_DEPTH} levels",
            f"must fit {self._name}{self._signature}",
        )

    def _bound(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        # What inspect.Signature.bind does, at a tenth of its price, for calls that are right.
        bound = {**dict(zip(self._positional, args, strict=False)), **kwargs}
        fits = len(bound) == len(args) + len(kwargs) and self._required <= bound.keys() <= self._known
        if fits:
            return bound
        try:
            return self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InvalidArgumentsError(
                "arguments", str(error), f"must fit {self._name}{self._signature}"
            ) from None


def _hints(handler: Handler, name: str) -> dict[str, object]:
    target = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise TaskDefinitionError(
            f"{name}: an annotation cannot be resolved ({error}); import its type at module level, not under TYPE_CHECKING"
        ) from error


def _refuse_unstorable(parameter: inspect.Parameter, hints: Mapping[str, object], name: str) -> None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TaskDefinitionError(
            f"{name}: parameter {parameter} cannot be stored by name; use plain or keyword-only parameters"
        )
    if parameter.name == "priority":
        raise TaskDefinitionError(
            f"{name}: rename parameter 'priority': payload.priority is the job's own priority"
        )
    if hints.get(parameter.name) is JobContext:
        raise TaskDefinitionError(f"{name}: the JobContext parameter must come first")


def _decoder_for(
    parameters: list[inspect.Parameter], hints: Mapping[str, object], name: str
) -> msgspec.json.Decoder[msgspec.Struct]:
    # A struct with one field for each parameter: one validated pass from bytes to values. The default
    # itself is not copied into the struct's definition where it is mutable: a factory hands it out.
    fields: list[tuple[str, object] | tuple[str, object, object]] = []
    for parameter in parameters:
        annotation = hints.get(parameter.name, object)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, annotation))
        else:
            default = msgspec.field(default_factory=_constantly(parameter.default))
            fields.append((parameter.name, annotation, default))
    try:
        shape = msgspec.defstruct("Arguments", cast("list[str]", fields), kw_only=True)
        return msgspec.json.Decoder(shape, dec_hook=_decode_model)
    except TypeError as error:
        raise TaskDefinitionError(f"{name}: {error}") from error


def _constantly(value: object) -> Callable[[], object]:
    return lambda: value


def _encode_model(value: object) -> object:
    if isinstance(value, _PydanticModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a type that JSON can hold")


def _decode_model(expected: type, value: object) -> object:
    if isinstance(value, expected):
        return value
    if issubclass(expected, _PydanticModel):
        try:
            return expected.model_validate(value)
        except ValueError as error:
            raise ValueError(_without_input(error)) from None
    raise TypeError(f"{expected.__name__} is not a type that JSON can hold")


def _without_input(error: ValueError) -> str:
    # pydantic's own text quotes the value that does not fit, and this ends in last_error: only where and why.
    if not isinstance(error, _PydanticError):
        return str(error)
    told = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, cast('tuple[object]', one['loc'])))}: {one['msg']}" for one in told)
