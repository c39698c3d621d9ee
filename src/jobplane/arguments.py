"""A handler's arguments to a JSON object and back, checked against its annotations on both ways.

What reaches the handler equals what was given to `enqueue`, or the call is refused there. jobplane.codecs knows the ways
of single values; this module binds arguments to parameters.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast, get_type_hints

import msgspec

from jobplane.codecs import Codec, codec_for, decode_model
from jobplane.context import JobContext
from jobplane.differences import Difference, MisfitError, UnequalError
from jobplane.errors import InvalidArgumentsError, InvalidInputError, TaskDefinitionError
from jobplane.limits import MAX_JSON_DEPTH
from jobplane.payload import Encoded, encode_payload, nests_too_deep

# msgspec quotes a value that is no member of an enum; the place that follows says enough, and the value may be private.
_QUOTED_VALUE: Final = re.compile(r"(Invalid (?:enum )?value).*?(?= - at `[^`]*`$|$)", re.DOTALL)


class Handler(Protocol):
    """What runs a job, whatever its parameters."""

    def __call__(self, *args: object, **kwargs: object) -> object: ...


class Arguments:
    """How one handler's parameters travel.

    Attributes:
        wants_context: whether the first parameter is a JobContext, which is injected, never stored.
    """

    def __init__(self, handler: Handler, *, skip_self: bool = False) -> None:
        name = getattr(handler, "__qualname__", repr(handler))
        self._name = name
        found, hints = _parameters_of(handler, name)
        parameters = found[1 if skip_self else 0 :]
        self.wants_context = bool(parameters) and hints.get(parameters[0].name) is JobContext
        stored = parameters[1:] if self.wants_context else parameters
        for parameter in stored:
            _refuse_unstorable(parameter, hints, name)
        self._signature = inspect.Signature(stored)
        self._known = frozenset(parameter.name for parameter in stored)
        self._required = frozenset(p.name for p in stored if p.default is p.empty)
        self._positional = tuple(p.name for p in stored if p.kind is p.POSITIONAL_OR_KEYWORD)
        self._codecs = {
            parameter.name: codec_for(
                hints.get(parameter.name, object), f"{name}: parameter {parameter.name}"
            )
            for parameter in stored
        }
        self._exact = {key: codec.exact for key, codec in self._codecs.items()}
        self._raw = tuple(key for key, codec in self._codecs.items() if codec.field is msgspec.Raw)
        self._decoder = _decoder_for(stored, self._codecs, name)

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The arguments as a JSON object's values, found to come back as they were given.

        Raises InvalidArgumentsError, which names the argument that does not fit.
        """
        bound = self._bound(args, kwargs)
        exact = self._exact
        for key, value in bound.items():
            if type(value) not in exact[key]:
                return self._encoded(bound)
        return bound  # JSON's own types, each where it is asked for: there is nothing to convert or to check

    def decode(self, payload: str | bytes) -> dict[str, object]:
        """The stored object as keyword arguments. Unknown members are ignored: another version wrote them."""
        if nests_too_deep(payload):
            raise self._nest_too_deep()
        values = self._decoded(payload)
        for key in self._raw:
            try:
                values[key] = self._codecs[key].decode(values[key])
            except ValueError as error:
                raise InvalidArgumentsError(
                    f"arguments.{key}", str(error), f"must fit {self._name}{self._signature}"
                ) from None
        return values

    def refused(self, values: Mapping[str, object], error: InvalidInputError) -> InvalidInputError:
        """The error of a payload that cannot be stored, as one of the argument that is to blame."""
        for key, value in values.items():
            try:
                encode_payload({key: value})
            except InvalidInputError as found:
                field = found.field.removeprefix("payload").removeprefix(f".{key}")
                return InvalidArgumentsError(f"arguments.{key}{field}", found.value, found.limit)
        return error

    def _encoded(self, bound: Mapping[str, object]) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in bound.items():
            codec = self._codecs[key]
            try:
                values[key] = value if type(value) in codec.exact else codec.encode(value)
            except RecursionError:
                raise self._nest_too_deep() from None
            except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
                raise self._unstorable(key, error) from None
        try:
            payload = Encoded(values)
        except InvalidInputError as error:
            raise self.refused(values, error) from None
        back = self._decoded(payload.text)
        for key, value in bound.items():
            codec = self._codecs[key]
            if type(value) not in codec.exact and (found := codec.difference(value, back[key])) is not None:
                raise self._changed(key, found)
        return payload

    def _decoded(self, payload: str | bytes) -> dict[str, object]:
        """The arguments, those that pydantic reads still as raw JSON."""
        try:
            return msgspec.structs.asdict(self._decoder.decode(payload))
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            reason = _QUOTED_VALUE.sub(r"\1", str(error))
            raise InvalidArgumentsError(
                "arguments", reason, f"must fit {self._name}{self._signature}"
            ) from error

    def _unstorable(self, key: str, error: Exception) -> InvalidArgumentsError:
        if isinstance(error, UnequalError):
            return self._changed(key, error.difference)
        limit = (
            f"must fit {self._name}{self._signature}"
            if isinstance(error, MisfitError)
            else f"of {self._name} must be JSON-serialisable"
        )
        return InvalidArgumentsError(f"arguments.{key}", str(error), limit)

    def _changed(self, key: str, found: Difference) -> InvalidArgumentsError:
        return InvalidArgumentsError(
            f"arguments.{key}{found.place}",
            found.reason,
            f"of {self._name} must reach the handler as it was given: annotate the parameter with the type of the value",
        )

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


def _parameters_of(handler: Handler, name: str) -> tuple[list[inspect.Parameter], dict[str, object]]:
    target: object = handler
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    # Annotations that are text may name the function's own type parameters, which no module holds.
    own = {parameter.__name__: parameter for parameter in getattr(target, "__type_params__", ())}
    try:
        # From Python 3.14 on both may find an annotation that names what is imported for type checkers only.
        parameters = list(inspect.signature(handler).parameters.values())
        hints = get_type_hints(target, localns=own or None, include_extras=True)
    except NameError as error:
        raise TaskDefinitionError(
            f"{name}: an annotation cannot be resolved ({error}); import its type at module level, not under TYPE_CHECKING"
        ) from error
    return parameters, hints


def _refuse_unstorable(parameter: inspect.Parameter, hints: Mapping[str, object], name: str) -> None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TaskDefinitionError(
            f"{name}: parameter {parameter} cannot be stored by name; use plain or keyword-only parameters"
        )
    if parameter.name.startswith("__"):
        raise TaskDefinitionError(
            f"{name}: rename parameter {parameter.name!r}: names that begin with two underscores are Python's own"
        )
    if parameter.name == "priority":
        raise TaskDefinitionError(
            f"{name}: rename parameter 'priority': payload.priority is the job's own priority"
        )
    if hints.get(parameter.name) is JobContext:
        raise TaskDefinitionError(f"{name}: the JobContext parameter must come first")
    if type(parameter.default).__module__ == "pydantic.fields":
        raise TaskDefinitionError(
            f"{name}: parameter {parameter.name} has a pydantic Field for its default, which the handler would be given; "
            f"write {parameter.name}: Annotated[..., Field(...)] instead"
        )


def _decoder_for(
    parameters: list[inspect.Parameter], codecs: Mapping[str, Codec], name: str
) -> msgspec.json.Decoder[msgspec.Struct]:
    # A struct with one field for each parameter: one validated pass from bytes to values. The default
    # itself is not copied into the struct's definition where it is mutable: a factory hands it out.
    fields: list[tuple[str, object] | tuple[str, object, object]] = []
    for parameter in parameters:
        annotation = codecs[parameter.name].field
        if parameter.default is parameter.empty:
            fields.append((parameter.name, annotation))
        else:
            default = msgspec.field(default_factory=_constantly(parameter.default))
            fields.append((parameter.name, annotation, default))
    try:
        shape = msgspec.defstruct("Arguments", cast("list[str]", fields), kw_only=True)
        return msgspec.json.Decoder(shape, dec_hook=decode_model)
    except (TypeError, NameError, RecursionError) as error:
        raise TaskDefinitionError(f"{name}: {error}") from error


def _constantly(value: object) -> Callable[[], object]:
    return lambda: value
