"""JSON in and out: what may be stored in a payload or a result, and the check that PostgreSQL will take it.

PostgreSQL's jsonb refuses NUL characters, lone surrogates and NaN, each of which Python's own json module
writes without complaint; so they are found here, before a transaction is spent (I19).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from jobplane.encoding import Excess, as_json, as_stored, excess_of
from jobplane.errors import InvalidInputError
from jobplane.job import JobPayload, JSONValue
from jobplane.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES

MAX_PATH: Final = 200
"""Characters of the place that an error names."""
_encoder: Final = msgspec.json.Encoder(enc_hook=as_json)
_payload_encoder: Final = msgspec.json.Encoder(enc_hook=as_stored)
_decoder: Final = msgspec.json.Decoder()
_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Encoded(dict[str, object]):
    """A payload whose text is known already: whoever checked it had to write it."""

    __slots__ = ("text",)

    def __init__(self, payload: Mapping[str, object]) -> None:
        super().__init__(payload)
        self.text = encode_payload(payload)


def encode_payload(payload: object, priority: int | None = None) -> str:
    """The payload as JSON text, with the priority merged in when one is given.

    Args:
        payload: a mapping with string keys. Beside JSON's own types, datetime, UUID, Decimal, Enum,
            dataclasses, msgspec structs and pydantic models are written in their usual forms, and instances of
            subclasses (NumPy scalars, pendulum's times, safe strings of templates) as the plain value.
        priority: written as payload["priority"], as the contract asks.

    Raises:
        InvalidInputError: not an object, over 1 MiB, deeper than 64 levels, or holding what JSON in
            PostgreSQL cannot: NaN, infinities, NUL characters, lone surrogates.
    """
    if type(payload) is Encoded and priority is None:
        return payload.text
    if not isinstance(payload, Mapping) or not _has_text_keys(payload):
        # Errors end in logs, so they name the kind of what was given and never the value: payloads may be private.
        given = f"a {type(payload).__name__}"
        raise InvalidInputError("payload", given, "must be a JSON object (a dict with string keys)")
    if priority is not None:
        payload = {**payload, "priority": priority}
    elif not isinstance(payload, dict):
        payload = dict(payload)
    return _encode("payload", payload, MAX_PAYLOAD_BYTES, _payload_encoder)


def encode_json(field: str, value: object, most_bytes: int) -> str:
    """Any JSON value as text that jsonb accepts. Raises InvalidInputError, which names the field."""
    return _encode(field, value, most_bytes, _encoder)


def _encode(field: str, value: object, most_bytes: int, encoder: msgspec.json.Encoder) -> str:
    try:
        encoded = encoder.encode(value)
    except RecursionError:
        raise InvalidInputError(
            field, "a deeper value", f"must nest at most {MAX_JSON_DEPTH} levels"
        ) from None
    except UnicodeEncodeError:
        raise InvalidInputError(field, "a lone surrogate", "must be valid Unicode text") from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidInputError(field, str(error), "must hold JSON values only") from error
    _check_encoded(field, value, encoded, most_bytes, encoder)
    return encoded.decode()


def _has_text_keys(payload: Mapping[object, object]) -> bool:
    for key in payload:  # noqa: SIM110 - a generator would take twice as long, and this is done for each job
        if not isinstance(key, str):
            return False
    return True


def encode_bounded(field: str, value: object, most_bytes: int) -> str:
    """Like encode_json, for what a handler hands over: within time and memory that the limit bounds, too."""
    excess = excess_of(value, most_bytes, MAX_JSON_DEPTH)
    if excess is Excess.SIZE:
        raise InvalidInputError(
            field, f"more than {most_bytes} bytes", f"must be at most {most_bytes} bytes as JSON"
        )
    if excess is Excess.DEPTH:
        raise InvalidInputError(field, "a deeper value", f"must nest at most {MAX_JSON_DEPTH} levels")
    return encode_json(field, value, most_bytes)


def decode_payload(text: str) -> JobPayload:
    """The payload of a row. Whole numbers of any size stay exact; what is no object reads as empty."""
    value = decode_json(text)
    return value if isinstance(value, Mapping) else {}


def decode_json(text: str) -> JSONValue:
    """JSON text as Python values. What jsonb holds and Python does not must not make a row unreadable: numbers
    of more than 4300 digits read as infinite, and what nests deeper than Python reaches as its own text.
    """
    try:
        return _decoded(text)
    except RecursionError:
        return text


def _decoded(text: str) -> JSONValue:
    try:
        value: JSONValue = _decoder.decode(text)
    except msgspec.ValidationError:
        value = json.loads(text, parse_int=_whole)
    return value


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _check_encoded(
    field: str, value: object, encoded: bytes, most_bytes: int, encoder: msgspec.json.Encoder
) -> None:
    # Substring counts decide the usual case; the walk in Python runs only where they leave a doubt.
    if len(encoded) > most_bytes:
        raise InvalidInputError(field, f"{len(encoded)} bytes", f"must be at most {most_bytes} bytes as JSON")
    if b"\\u0000" in encoded and _ESCAPED_NUL.search(encoded):
        raise InvalidInputError(
            field, "\\u0000", "must not hold NUL characters: PostgreSQL cannot store them"
        )
    brackets = encoded.count(b"{") + encoded.count(b"[")
    # The keys of the payload itself are text; those of what is in it may be numbers.
    if b"null" in encoded or (brackets > 1 and (b'nan":' in encoded or b'inf":' in encoded)):
        _refuse_nan(field, msgspec.to_builtins(value, enc_hook=encoder.enc_hook))
    if brackets > MAX_JSON_DEPTH and _depth(_decoder.decode(encoded)) > MAX_JSON_DEPTH:
        raise InvalidInputError(field, "a deeper value", f"must nest at most {MAX_JSON_DEPTH} levels")


def _refuse_nan(field: str, value: object) -> None:
    # The encoder writes NaN and infinities as null, and as text where they are keys: data lost in silence, unless it is
    # looked for.
    stack = [(field, value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise InvalidInputError(path, item, "must be a finite number")
        if isinstance(item, Mapping):
            for key, child in item.items():
                stack += ((_within(path, key), child), (path, key))
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend((f"{path}[{index}]", child) for index, child in enumerate(item))


def _within(path: str, key: object) -> str:
    # The path stands in an error, so it stays printable and short, whatever the keys are.
    name = str(key) if str(key).isprintable() else ascii(key)
    return path if len(path) > MAX_PATH else f"{path}.{name}"[:MAX_PATH]


def _depth(value: object) -> int:
    deepest, stack = 0, [(1, value)]
    while stack:
        level, item = stack.pop()
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        if isinstance(item, dict | list):
            deepest = max(deepest, level)
        stack.extend((level + 1, child) for child in children)
    return deepest
