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

from jobplane.errors import InvalidInputError
from jobplane.job import JobPayload, JSONValue
from jobplane.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES

MAX_PATH: Final = 200
"""Characters of the place that an error names."""
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def encode_payload(payload: object, priority: int | None = None) -> str:
    """The payload as JSON text, with the priority merged in when one is given.

    Args:
        payload: a mapping with string keys. Beside JSON's own types, datetime, UUID, Decimal, Enum,
            dataclasses and msgspec structs are written in their usual text forms.
        priority: written as payload["priority"], as the contract asks.

    Raises:
        InvalidInputError: not an object, over 1 MiB, deeper than 64 levels, or holding what JSON in
            PostgreSQL cannot: NaN, infinities, NUL characters, lone surrogates.
    """
    if not isinstance(payload, Mapping) or not all(isinstance(key, str) for key in payload):
        # Errors end in logs, so they name the kind of what was given and never the value: payloads may be private.
        given = f"a {type(payload).__name__}"
        raise InvalidInputError("payload", given, "must be a JSON object (a dict with string keys)")
    if priority is not None:
        payload = {**payload, "priority": priority}
    elif not isinstance(payload, dict):
        payload = dict(payload)
    return encode_json("payload", payload, MAX_PAYLOAD_BYTES)


def with_priority(payload: str, priority: int) -> str:
    """An encoded payload with the priority merged in. Raises InvalidInputError where it is too large then."""
    members = _members.decode(payload)
    members["priority"] = msgspec.Raw(b"%d" % priority)
    encoded = _encoder.encode(members)
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise InvalidInputError(
            "payload", f"{len(encoded)} bytes", f"must be at most {MAX_PAYLOAD_BYTES} bytes as JSON"
        )
    return encoded.decode()


def encode_json(field: str, value: object, most_bytes: int) -> str:
    """Any JSON value as text that jsonb accepts. Raises InvalidInputError, which names the field."""
    try:
        encoded = _encoder.encode(value)
    except RecursionError:
        raise InvalidInputError(
            field, "a deeper value", f"must nest at most {MAX_JSON_DEPTH} levels"
        ) from None
    except UnicodeEncodeError:
        raise InvalidInputError(field, "a lone surrogate", "must be valid Unicode text") from None
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidInputError(field, str(error), "must hold JSON values only") from error
    _check_encoded(field, value, encoded, most_bytes)
    return encoded.decode()


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


def _check_encoded(field: str, value: object, encoded: bytes, most_bytes: int) -> None:
    # Substring counts decide the usual case; the walk in Python runs only where they leave a doubt.
    if len(encoded) > most_bytes:
        raise InvalidInputError(field, f"{len(encoded)} bytes", f"must be at most {most_bytes} bytes as JSON")
    if b"\\u0000" in encoded and _ESCAPED_NUL.search(encoded):
        raise InvalidInputError(
            field, "\\u0000", "must not hold NUL characters: PostgreSQL cannot store them"
        )
    if b"null" in encoded:
        _refuse_nan(field, msgspec.to_builtins(value))
    if (
        encoded.count(b"{") + encoded.count(b"[") > MAX_JSON_DEPTH
        and _depth(_decoder.decode(encoded)) > MAX_JSON_DEPTH
    ):
        raise InvalidInputError(field, "a deeper value", f"must nest at most {MAX_JSON_DEPTH} levels")


def _refuse_nan(field: str, value: object) -> None:
    # The encoder writes NaN and infinities as null: data lost in silence, unless it is looked for.
    stack = [(field, value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise InvalidInputError(path, item, "must be a finite number")
        if isinstance(item, Mapping):
            stack.extend((_within(path, key), child) for key, child in item.items())
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
