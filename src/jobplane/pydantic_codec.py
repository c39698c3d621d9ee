"""How values that pydantic describes travel: pydantic writes them and reads them, so that both directions agree.

The only module that imports pydantic; jobplane.encoding imports it when something of pydantic's is in sight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Final, TypedDict, cast

import msgspec
import pydantic
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from jobplane.comparison import difference
from jobplane.differences import Leeway, MisfitError, UnequalError


class _Names(TypedDict, total=False):
    by_alias: bool
    by_name: bool


_VERSION: Final = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])
_PREFERRED: Final = 2
"""The ways to write a value that should do, before those for models with ideas of their own."""
_BY_NAME: Final = _Names(by_alias=True, by_name=True) if _VERSION >= (2, 11) else _Names()
"""Fields may stand under their names as well as under their aliases, whatever the model's own settings."""


class PydanticCodec:
    """One annotation, written and read by pydantic.

    Args:
        annotation: what a TypeAdapter takes. Raises pydantic's own errors and TypeError for anything else.
        secrets: whether the annotation names types that hide their value from JSON, which then has to be revealed.
        leeway: which other forms of a value the annotation says how to read.
    """

    def __init__(self, annotation: object, *, secrets: bool, leeway: Leeway = Leeway.ALL) -> None:
        self._adapter: TypeAdapter[object] = TypeAdapter(cast("type[object]", annotation))
        self._secrets = secrets
        self._leeway = leeway

    def encode(self, value: object) -> object:
        """The value as JSON's own types, found to come back equal.

        Raises UnequalError or MisfitError, and ValueError for what pydantic cannot write.
        """
        failure: Exception | None = None
        tried: list[bytes] = []
        for number, write in enumerate(self._ways()):
            error: Exception
            try:
                form = write(value)
                text = msgspec.json.encode(form)
                if text in tried:
                    continue
                tried.append(text)
                found = difference(value, self.decode(text), leeway=self._leeway)
                if found is None:
                    return form
                error = UnequalError(found)
            except (TypeError, ValueError) as refused:
                error = refused
            if number < _PREFERRED:
                failure = error  # of the fullest of them: it says what really stands in the way
        raise failure or TypeError(f"{type(value).__name__} has no JSON form")

    def decode(self, text: bytes) -> object:
        """What the JSON stands for. Raises MisfitError, which says where it does not fit and never quotes the value."""
        try:
            return self._adapter.validate_json(text, **_BY_NAME)
        except ValidationError as error:
            raise MisfitError(_without_input(error)) from None

    def _ways(self) -> Iterator[Callable[[object], object]]:
        """The ways to write a value, the best first. Which one its class can read back only trying tells."""
        # Names before aliases, which may be for reading or for writing alone. Without the fields that nobody set before
        # all of them, so that the handler can tell the two kinds; but what a default makes anew each time must be kept.
        # Secrets revealed before what a serializer of the application's own makes of them.
        for by_alias, reveal, exclude_unset in product(
            (False, True), (True, False) if self._secrets else (False,), (True, False)
        ):
            yield partial(self._form, by_alias=by_alias, exclude_unset=exclude_unset, reveal=reveal)
        yield msgspec.to_builtins  # JSON already, such as the text of a secret

    def _form(self, value: object, *, by_alias: bool, exclude_unset: bool, reveal: bool) -> object:
        form = self._dumped(value, by_alias=by_alias, exclude_unset=exclude_unset, as_json=True)
        if not reveal:
            return form
        return _revealed(
            self._dumped(value, by_alias=by_alias, exclude_unset=exclude_unset, as_json=False), form
        )

    def _dumped(self, value: object, *, by_alias: bool, exclude_unset: bool, as_json: bool) -> object:
        try:
            return self._adapter.dump_python(
                value,
                mode="json" if as_json else "python",
                by_alias=by_alias,
                exclude_unset=exclude_unset,
                round_trip=True,
                warnings=False,
            )
        except PydanticSerializationError as error:
            raise _unwritable(error, value) from None


@lru_cache(maxsize=1000)
def codec_of(kind: type) -> PydanticCodec:
    """The codec of a class that stands inside of something that pydantic does not read."""
    try:
        return PydanticCodec(kind, secrets=True)
    except pydantic.errors.PydanticUserError:
        raise TypeError(f"{kind.__name__} is not a type that JSON can hold") from None


def json_form(value: object) -> object:
    """A model or another value of pydantic's, as its JSON reads elsewhere; secrets in plain."""
    try:
        if isinstance(value, pydantic.BaseModel):
            form: object = value.model_dump(mode="json", warnings=False)
            return _revealed(value.model_dump(mode="python", warnings=False), form) if _hides(form) else form
        return _plain(value)
    except PydanticSerializationError as error:
        raise _unwritable(error, value) from None


def _plain(value: object) -> object:
    reveal = getattr(value, "get_secret_value", None)
    return to_jsonable_python(reveal() if callable(reveal) else value)


def _unwritable(error: PydanticSerializationError, value: object) -> ValueError:
    # What a serializer of the application's own said may quote the value: only that it failed.
    name, called, _ = str(error).partition("Error calling function")
    return ValueError(f"{name}a serializer failed for a {type(value).__name__}" if called else str(error))


def _hides(form: object) -> bool:
    return b"*" in msgspec.json.encode(form)


def _revealed(shown: object, form: object) -> object:
    """The JSON form of a dump, with the secrets that `shown`, the same dump as Python values, still holds."""
    if hasattr(shown, "get_secret_value"):
        return _plain(shown)
    if isinstance(shown, Mapping) and isinstance(form, dict) and len(shown) == len(form):
        return {key: _revealed(*both) for key, *both in zip(form, shown.values(), form.values(), strict=True)}
    if isinstance(shown, Sequence) and isinstance(form, list) and len(shown) == len(form):
        return [_revealed(*both) for both in zip(shown, form, strict=True)]
    return form


def _without_input(error: ValidationError) -> str:
    # pydantic's own text quotes the value that does not fit, and this ends in last_error: only where and why.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"]))) for one in found)
