"""JSON in and out: what may be stored in a payload or a result, and the check that PostgreSQL will take it.

PostgreSQL's jsonb refuses NUL characters, lone surrogates and NaN, each of which Python's own json module
writes without complaint; so they are found here, before a transaction is spent (I19).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

import msgspec

from jobplane.encoding import Excess, as_json, as_stored, excess_of
from jobplane.errors import InvalidInputError
from jobplane.job import JobPayload, JSONValue
from jobplane.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES

MAX_PATH: Final = 200
"""Characters of the place that an error names."""
TOO_DEEP: Final = f"must nest at most {MAX_JSON_DEPTH} levels"
"""The limit that an error names for a value that nests too deep."""
_encoder: Final = msgspec.json.Encoder(enc_hook=as_json)
_payload_encoder: Final = msgspec.json.Encoder(enc_hook=as_stored)
_decoder: Final = msgspec.json.Decoder()
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STEP: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[{]}"))
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
    return _encode(field, value, most_bytes, _encoder)


def _encode(field: str, value: object, most_bytes: int, encoder: msgspec.json.Encoder) -> str:
    try:
        encoded = encoder.encode(value)
    except RecursionError:
        # So deep, or a cycle, that the encoder gave up; what it can still encode is measured below.
        raise InvalidInputError(field, "a deeper value", TOO_DEEP) from None
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
    """The payload of a row. Whole numbers of any size stay exact.

    What is no object, or nests deeper than MAX_JSON_DEPTH levels, reads as empty.
    """
    value = decode_json(text)
    return value if isinstance(value, Mapping) else {}


def decode_json(text: str) -> JSONValue:
    """JSON text of a row as Python values.

    Any SQL client may have written it, and one row must not make a page of rows unreadable: numbers of more than
    4300 digits read as infinite, and what nests deeper than MAX_JSON_DEPTH levels reads as its own text.
    """
    if nests_too_deep(text):
        return text
    try:
        value: JSONValue = _decoder.decode(text)
    except msgspec.ValidationError:
        value = json.loads(text, parse_int=_whole)
    return value


def nests_too_deep(text: str | bytes) -> bool:
    """Whether JSON text nests deeper than MAX_JSON_DEPTH levels: exact, and for parsers that recurse to ask first.

    How deep those can go depends on the version of Python and on the caller's own stack. In text that is not JSON, it
    measures the part that a parser would read.
    """
    # Each level takes two characters, and its opening bracket; that decides the usual case.
    if len(text) <= 2 * MAX_JSON_DEPTH:
        return False
    if isinstance(text, str):
        if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
            return False
        text = text.encode(errors="replace")
    elif text.count(b"[") + text.count(b"{") <= MAX_JSON_DEPTH:
        return False
    steps = _STRING.sub(b"", text).translate(_STEP, _NO_BRACKET)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_JSON_DEPTH


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _check_encoded(
    field: str, value: object, encoded: bytes, most_bytes: int, encoder: msgspec.json.Encoder
) -> None:
    # Substring counts decide the usual case; what is slower runs only where they leave a doubt.
    if len(encoded) > most_bytes:
        raise InvalidInputError(field, f"{len(encoded)} bytes", f"must be at most {most_bytes} bytes as JSON")
    if b"\\u0000" in encoded and _ESCAPED_NUL.search(encoded):
        raise InvalidInputError(
            field, "\\u0000", "must not hold NUL characters: PostgreSQL cannot store them"
        )
    if nests_too_deep(encoded):
        raise InvalidInputError(field, "a deeper value", TOO_DEEP)
    # The keys of the payload itself are text; those of what is in it may be numbers.
    inner = encoded.count(b"{") + encoded.count(b"[") > 1
    if b"null" in encoded or (inner and (b'nan":' in encoded or b'inf":' in encoded)):
        _refuse_nan(field, msgspec.to_builtins(value, enc_hook=encoder.enc_hook))


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
