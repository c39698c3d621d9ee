"""A handler's arguments travel as a JSON object and come back as what its annotations say, or are refused by name."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict, cast
from uuid import UUID

import msgspec
import pydantic
import pytest

from jobplane import InvalidArgumentsError, JobContext, TaskDefinitionError
from jobplane.arguments import Arguments, Handler

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclass
class Address:
    street: str
    number: int = 1
    tags: list[str] = field(default_factory=list)


class Shape(msgspec.Struct):
    side: float


class Person(pydantic.BaseModel):
    name: str
    born: date | None = None
    address: Address | None = None


class Options(TypedDict, total=False):
    fast: bool


def arguments_of(handler: Callable[..., object], *, skip_self: bool = False) -> Arguments:
    """What any function's parameters become."""
    return Arguments(cast("Handler", handler), skip_self=skip_self)


def _everything(
    text: str,
    number: int,
    ratio: float,
    flag: bool,  # noqa: FBT001
    nothing: None,
    at: datetime,
    day: date,
    wait: timedelta,
    key: UUID,
    price: Decimal,
    raw: bytes,
    colour: Colour,
    level: Level,
    kind: Literal["a", "b"],
    address: Address,
    shape: Shape,
    person: Person,
    options: Options,
    pairs: list[tuple[int, str]],
    names: set[str],
    by_name: dict[str, Address],
    small: Annotated[int, msgspec.Meta(le=10)],
    either: int | str,
) -> None: ...


EVERYTHING: dict[str, object] = {
    "text": "Zoë ☃",
    "number": 2**53 + 1,
    "ratio": 0.1,
    "flag": True,
    "nothing": None,
    "at": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "day": date(2026, 5, 1),
    "wait": timedelta(seconds=90),
    "key": UUID(int=7),
    "price": Decimal("1.10"),
    "raw": b"\x00\xff",
    "colour": Colour.RED,
    "level": Level.LOW,
    "kind": "a",
    "address": Address("Main St", 7, ["x"]),
    "shape": Shape(2.0),
    "person": Person(name="Ann", born=date(1990, 1, 1), address=Address("Side St")),
    "options": {"fast": True},
    "pairs": [(1, "a"), (2, "b")],
    "names": {"a", "b"},
    "by_name": {"home": Address("Home St")},
    "small": 10,
    "either": "x",
}


def test_every_supported_annotation_comes_back_as_it_went_in() -> None:
    arguments = arguments_of(_everything)

    stored = json.dumps(arguments.encode((), EVERYTHING))

    assert arguments.decode(stored) == EVERYTHING


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text", 1),
        ("number", "1"),
        ("number", 1.5),
        ("flag", 1),
        ("at", "yesterday"),
        ("key", "x"),
        ("colour", "blue"),
        ("level", 9),
        ("kind", "c"),
        ("address", {"street": 1}),
        ("shape", {}),
        ("person", {"name": None}),
        ("pairs", [(1, 2)]),
        ("small", 11),
        ("either", 1.5),
        ("nothing", 0),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_at_enqueue_and_named(name: str, wrong: object) -> None:
    arguments = arguments_of(_everything)

    with pytest.raises(InvalidArgumentsError) as caught:
        arguments.encode((), {**EVERYTHING, name: wrong})

    assert name in str(caught.value)


def _greet(name: str, times: int = 2, *, loud: bool = False) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "stored"),
    [
        (("Ann",), {}, {"name": "Ann"}),
        (("Ann", 3), {}, {"name": "Ann", "times": 3}),
        ((), {"name": "Ann", "loud": True}, {"name": "Ann", "loud": True}),
    ],
)
def test_arguments_are_stored_by_name_and_defaults_are_filled_in_by_the_worker(
    args: tuple[object, ...], kwargs: dict[str, object], stored: dict[str, object]
) -> None:
    arguments = arguments_of(_greet)

    assert arguments.encode(args, kwargs) == stored
    decoded = arguments.decode(json.dumps(stored))
    assert decoded == {"name": "Ann", "times": 2, "loud": False, **stored}


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "missing a required argument: 'name'"),
        (("a", 1, True), {}, "too many positional"),
        (("a",), {"name": "b"}, "multiple values for argument 'name'"),
        (("a",), {"lowd": True}, "unexpected keyword argument 'lowd'"),
    ],
)
def test_a_call_that_python_would_refuse_is_refused_at_enqueue(
    args: tuple[object, ...], kwargs: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=says):
        arguments_of(_greet).encode(args, kwargs)


def test_a_stored_member_that_this_version_does_not_know_is_ignored() -> None:
    decoded = arguments_of(_greet).decode('{"name": "Ann", "added_later": 1, "priority": 5}')

    assert decoded["name"] == "Ann"


@pytest.mark.parametrize("payload", ["{}", '{"name": 7}', "[]", "null", '{"name": "x", "times": "2"}', "{"])
def test_a_stored_payload_that_does_not_fit_is_refused_at_execution(payload: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="must fit _greet"):
        arguments_of(_greet).decode(payload)


def test_what_json_cannot_hold_is_refused() -> None:
    def take(value: object) -> None: ...

    with pytest.raises(InvalidArgumentsError, match="must be JSON-serialisable"):
        arguments_of(take).encode((object(),), {})


def test_a_mutable_default_is_handed_out_not_shared_with_the_definition() -> None:
    def collect(into: list[int] = []) -> None: ...  # noqa: B006

    assert arguments_of(collect).decode("{}") == {"into": []}


# -- what becomes of the signature --------------------------------------------------------------------


def _with_context(ctx: JobContext, a: int) -> None: ...


def _without(a: int) -> None: ...


class Service:
    def send(self, ctx: JobContext, to: str) -> None: ...

    def plain(self, to: str) -> None: ...


class Callable_:  # noqa: N801
    def __call__(self, a: int) -> None: ...


def test_a_context_in_front_is_injected_and_never_stored() -> None:
    arguments = arguments_of(_with_context)

    assert arguments.wants_context
    assert arguments.encode((1,), {}) == {"a": 1}
    assert not arguments_of(_without).wants_context


def test_self_of_a_method_is_skipped() -> None:
    arguments = arguments_of(Service.send, skip_self=True)

    assert arguments.wants_context
    assert arguments.encode(("x",), {}) == {"to": "x"}
    assert arguments_of(Service().plain).encode(("x",), {}) == {"to": "x"}


def test_a_callable_object_is_read_by_its_call() -> None:
    assert arguments_of(Callable_()).encode((1,), {}) == {"a": 1}


def test_a_wrapped_function_keeps_its_own_parameters() -> None:
    @functools.wraps(_without)
    def wrapper(*args: int, **kwargs: int) -> None: ...

    assert arguments_of(wrapper).encode((1,), {}) == {"a": 1}


def _context_last(a: int, ctx: JobContext) -> None: ...
def _priority(priority: int) -> None: ...
def _star(*args: int) -> None: ...
def _double_star(**kwargs: int) -> None: ...
def _positional_only(a: int, /) -> None: ...
def _unresolvable(a: Fraction) -> None: ...
def _impossible(a: Callable[[], None]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (_context_last, "JobContext parameter must come first"),
        (_priority, "rename parameter 'priority'"),
        (_star, r"parameter \*args.* cannot be stored by name"),
        (_double_star, r"parameter \*\*kwargs.* cannot be stored by name"),
        (_positional_only, "cannot be stored by name"),
        (_unresolvable, "import its type at module level, not under TYPE_CHECKING"),
    ],
)
def test_a_signature_that_cannot_travel_is_refused_at_definition(
    handler: Callable[..., object], says: str
) -> None:
    with pytest.raises(TaskDefinitionError, match=says) as caught:
        arguments_of(handler)

    assert handler.__qualname__ in str(caught.value)


def test_an_argument_of_a_type_that_json_cannot_hold_is_refused_at_enqueue() -> None:
    with pytest.raises(InvalidArgumentsError):
        arguments_of(_impossible).encode((print,), {})


def test_a_parameter_without_annotation_takes_any_json_value() -> None:
    def loose(value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    assert arguments_of(loose).decode('{"value": [1, {"a": null}]}') == {"value": [1, {"a": None}]}


def test_a_parameter_with_a_name_of_pythons_own_kind_is_refused_when_the_task_is_defined() -> None:
    """The struct that arguments are decoded into cannot hold it."""

    async def handler(__secret: int = 1) -> None: ...  # noqa: PYI063 - the name is the point

    with pytest.raises(TaskDefinitionError, match="rename parameter '__secret'"):
        Arguments(cast("Handler", handler))
