"""What may be stored as JSON, and that everything PostgreSQL's jsonb refuses is found before (I19)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane import InvalidInputError
from jobplane.job import JSONValue
from jobplane.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_BYTES
from jobplane.payload import decode_json, decode_payload, encode_json, encode_payload, nests_too_deep


@dataclass
class Point:
    x: float
    y: float | None = None


class Shape(msgspec.Struct):
    side: float


class Colour(Enum):
    RED = "red"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_encodes_decodes_to_the_same_and_what_does_not_is_refused_for_a_nul(
    value: dict[str, JSONValue],
) -> None:
    try:
        text = encode_payload(value)
    except InvalidInputError:
        assert "\\u0000" in json.dumps(value)
    else:
        assert decode_payload(text) == value
        assert json.loads(text) == value


def test_the_priority_is_merged_over_the_callers_own() -> None:
    assert json.loads(encode_payload({"a": 1, "priority": 2}, 7)) == {"a": 1, "priority": 7}
    assert json.loads(encode_payload({"a": 1, "priority": 2})) == {"a": 1, "priority": 2}


@pytest.mark.parametrize("value", [None, [1], "text", 7, True, b"{}", (1, 2), Point(1.0), object()])
def test_a_payload_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="payload must be a JSON object") as caught:
        encode_payload(value)

    assert caught.value.field == "payload"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [1, {"deep": (n,)}], Point, lambda n: [Shape(n)]])
def test_a_number_that_is_not_finite_is_refused_and_its_place_named(number: float, wrap: type[Point]) -> None:
    with pytest.raises(InvalidInputError, match=r"^payload\.place\b.* must be a finite number"):
        encode_payload({"place": wrap(number), "null": None})


@pytest.mark.parametrize("payload", [{"a": "x\0y"}, {"\0": 1}, {"a": ["\\\0"]}, {"a": {"b": {"c\0": None}}}])
def test_a_nul_character_is_refused(payload: object) -> None:
    with pytest.raises(InvalidInputError, match="must not hold NUL"):
        encode_payload(payload)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "a\\\\\\u0000", "u0000", "\\", "\\\\"])
def test_a_backslash_and_u0000_spelled_out_is_no_nul(text: str) -> None:
    assert decode_payload(encode_payload({"a": text})) == {"a": text}


@pytest.mark.parametrize("payload", [{"a": "\ud800"}, {"\udfff": 1}, {"a": ["ok", "\udc80"]}])
def test_a_lone_surrogate_is_refused(payload: object) -> None:
    with pytest.raises(InvalidInputError, match="must be valid Unicode") as caught:
        encode_payload(payload)

    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", [2**63, -(2**64), 2**200, 10**4000, -(10**300)])
def test_whole_numbers_of_any_size_stay_exact(number: int) -> None:
    assert decode_payload(encode_payload({"n": number})) == {"n": number}


def test_a_whole_number_of_more_digits_than_python_prints_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="payload must hold JSON values only"):
        encode_payload({"n": 10**5000})


@pytest.mark.parametrize("value", [object(), {1j: 1}, {None: 1}, {(1, 2): 3}, print])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="payload must hold JSON values only"):
        encode_payload({"a": value})


def test_a_payload_of_exactly_a_mebibyte_is_accepted_and_a_byte_more_refused() -> None:
    frame = len('{"a":""}')

    assert len(encode_payload({"a": "x" * (MAX_PAYLOAD_BYTES - frame)})) == MAX_PAYLOAD_BYTES
    with pytest.raises(InvalidInputError, match=f"must be at most {MAX_PAYLOAD_BYTES} bytes") as caught:
        encode_payload({"a": "x" * (MAX_PAYLOAD_BYTES - frame + 1)})
    assert caught.value.value == f"'{MAX_PAYLOAD_BYTES + 1} bytes'"


def test_the_size_is_counted_in_bytes_not_characters() -> None:
    with pytest.raises(InvalidInputError, match="must be at most"):
        encode_payload({"a": "☃" * (MAX_PAYLOAD_BYTES // 3)})


def _nested(levels: int) -> dict[str, JSONValue]:
    value: JSONValue = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


def test_64_levels_are_accepted_and_65_refused() -> None:
    assert decode_payload(encode_payload(_nested(MAX_JSON_DEPTH))) == _nested(MAX_JSON_DEPTH)
    with pytest.raises(InvalidInputError, match="must nest at most 64 levels"):
        encode_payload(_nested(MAX_JSON_DEPTH + 1))


def test_many_brackets_side_by_side_are_no_depth() -> None:
    wide: dict[str, JSONValue] = {"a": [{"b": [1]} for _ in range(500)], "text": "[[[[" * 100}

    assert decode_payload(encode_payload(wide)) == wide


def test_depth_beyond_the_interpreters_own_and_cycles_are_refused() -> None:
    cycle: dict[str, object] = {}
    cycle["self"] = cycle

    for value in (_nested(100_000), cycle):
        with pytest.raises(InvalidInputError, match="must nest at most 64 levels"):
            encode_payload(value)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]")])
@pytest.mark.parametrize("repeats", [1, 31, 32, 33, 64, 65, 300, 5_000, 100_000])
def test_how_deep_text_nests_is_counted_and_rests_on_no_interpreter(
    opening: str, closing: str, repeats: int
) -> None:
    text = f"{opening * repeats}1{closing * repeats}"
    levels = repeats * (opening.count("[") + opening.count("{"))

    assert nests_too_deep(text) is (levels > MAX_JSON_DEPTH)
    assert nests_too_deep(text.encode()) is (levels > MAX_JSON_DEPTH)
    assert nests_too_deep(opening * repeats) or repeats <= 2 * MAX_JSON_DEPTH, "torn text is measured too"


@given(JSON.filter(lambda value: not isinstance(value, float)))
def test_depth_is_that_of_the_value(value: JSONValue) -> None:
    for levels in (MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1):
        wrapped = value
        for _ in range(levels - _depth(value)):
            wrapped = [']][[\\"', wrapped]
        text = json.dumps(wrapped)

        assert nests_too_deep(text) is (levels > MAX_JSON_DEPTH)


def _depth(value: object) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(_depth, children), default=0)


def test_what_nests_deeper_than_the_limit_reads_as_its_own_text_and_as_an_empty_payload() -> None:
    """Whoever wrote the row; 64 levels, on every Python."""
    deepest, deeper = ("[" * levels + "]" * levels for levels in (MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1))

    assert decode_json(deepest) == json.loads(deepest)
    assert decode_json(deeper) == deeper
    assert decode_json(text := "[" * 5_000 + "]" * 5_000) == text
    assert decode_payload(f'{{"a": {deepest}}}') == {}
    assert decode_payload(f'{{"a": {deepest[1:-1]}}}') == {"a": json.loads(deepest[1:-1])}


def test_the_usual_values_travel_in_their_text_forms() -> None:
    text = encode_payload(
        {
            "at": datetime(2026, 5, 1, tzinfo=UTC),
            "id": UUID(int=7),
            "price": Decimal("1.10"),
            "colour": Colour.RED,
            "point": Point(1.5),
            "shape": Shape(2.0),
        }
    )

    assert json.loads(text) == {
        "at": "2026-05-01T00:00:00Z",
        "id": "00000000-0000-0000-0000-000000000007",
        "price": "1.10",
        "colour": "red",
        "point": {"x": 1.5, "y": None},
        "shape": {"side": 2.0},
    }


@pytest.mark.parametrize("priority", [None, 5])
def test_any_mapping_is_taken_not_only_dicts(priority: int | None) -> None:
    text = encode_payload(MappingProxyType({"a": 1}), priority)

    assert json.loads(text)["a"] == 1


def test_keys_that_would_become_the_same_text_are_refused() -> None:
    """JSON would keep one of the two."""
    with pytest.raises(InvalidInputError, match="payload"):
        encode_payload({1: "a", "1": "b"})


def test_errors_name_the_field_that_was_asked_for() -> None:
    with pytest.raises(InvalidInputError) as caught:
        encode_json("progress", {"x": "y" * 100}, 50)

    assert (caught.value.field, caught.value.limit) == ("progress", "must be at most 50 bytes as JSON")


@pytest.mark.parametrize("text", ["[1]", '"text"', "null", "7"])
def test_a_stored_payload_that_is_no_object_reads_as_empty(text: str) -> None:
    assert decode_payload(text) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1" + "0" * 400, 10**400),
        ("1" + "0" * 6000, math.inf),
        ("-1" + "0" * 6000, -math.inf),
        ("1" + "0" * 400 + ".5", math.inf),
    ],
)
def test_numbers_that_jsonb_holds_and_python_does_not_can_still_be_read(text: str, value: float) -> None:
    """A row like that, written by another program, must not break a page of jobs."""
    assert decode_json(f'{{"n": [{text}]}}') == {"n": [value]}
