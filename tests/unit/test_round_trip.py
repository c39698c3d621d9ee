"""What goes in comes out equal, or is refused at enqueue with the argument and the reason: over every kind of type."""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections import ChainMap, Counter, OrderedDict, UserString, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import (
    Annotated,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
    cast,
)
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import annotated_types
import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict as NewerTypedDict

from jobplane import InvalidArgumentsError, TaskDefinitionError
from jobplane.arguments import Arguments, Handler
from jobplane.comparison import difference
from jobplane.job import JSONValue
from jobplane.payload import decode_json, encode_payload
from jobplane.task import TaskSettings, TaskSpec

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")
Number = NewType("Number", int)


def taking(annotation: object, default: object = None) -> Arguments:
    """The arguments of a handler with one parameter, `value`."""

    def handler(value: object) -> None: ...

    handler.__annotations__ = {"value": annotation, "return": None}
    if default is not None:
        handler.__defaults__ = (default,)
    return Arguments(cast("Handler", handler))


def task_taking(annotation: object) -> TaskSpec[..., ..., object]:
    """A task of such a handler."""

    def handler(value: object) -> None: ...

    handler.__annotations__ = {"value": annotation}
    return TaskSpec(handler, "work", TaskSettings())


def travelled(annotation: object, value: object) -> object:
    """What the handler is given: by way of the text that is stored."""
    work = task_taking(annotation)
    stored = work.new(value).payload
    # As jsonb does it: keys in another order, and no trace of how a number was written.
    reordered = json.dumps(decode_json(stored), sort_keys=True)
    return work.arguments.decode(reordered)["value"]


# -- what travels -----------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Rights(Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Options(TypedDict):
    fast: bool
    deep: NotRequired[list[int]]


class NewerOptions(NewerTypedDict):
    at: datetime
    secret: NotRequired[pydantic.SecretStr]


@dataclass
class Base:
    a: int


@dataclass(kw_only=True)
class Child(Base):
    b: str = "b"
    made: list[int] = field(default_factory=list)
    seen: int = field(init=False, default=0)
    hidden: int = field(default=0, compare=False)


@dataclass(eq=False)
class Nameless:
    a: int


@dataclass
class WithInitVar:
    a: int
    factor: InitVar[int] = 1

    def __post_init__(self, factor: int) -> None:
        self.a *= factor


@dataclass(frozen=True)
class Box(Generic[T]):
    item: T


@attrs.define
class Crate:
    a: int
    b: str = "b"


class Plain(msgspec.Struct):
    a: int


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    project_id: str
    region: str = "eu"


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: list[str]


class Holder(msgspec.Struct):
    model: Aliased
    name: str = ""


class Account(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr
    token: pydantic.SecretBytes = pydantic.SecretBytes(b"")
    born: pydantic.Secret[date] | None = None


class Aliased(pydantic.BaseModel):
    project_id: str = pydantic.Field(alias="projectId")
    region: str = pydantic.Field(alias="regionName", default="eu")


class OnlyIn(pydantic.BaseModel):
    size: int = pydantic.Field(validation_alias="sizeInBytes")
    depth: int = pydantic.Field(validation_alias=pydantic.AliasChoices("d", "deep"), default=0)
    first: int = pydantic.Field(validation_alias=pydantic.AliasPath("many", 0), default=0)


class OnlyOut(pydantic.BaseModel):
    size: int = pydantic.Field(serialization_alias="sizeInBytes")


class Crossed(pydantic.BaseModel):
    a: int = pydantic.Field(alias="b")
    b: int = pydantic.Field(alias="a")


class Generated(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True
    )
    project_id: str
    is_new: bool = True


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int

    @pydantic.computed_field
    def twice(self) -> int:
        return self.a * 2


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, frozen=True)
    at: datetime
    key: UUID
    colour: Colour
    wait: timedelta
    pair: tuple[int, str]
    names: frozenset[str]
    price: Decimal
    where: Path


class Made(pydantic.BaseModel):
    id: UUID = pydantic.Field(default_factory=uuid4)
    rest: int = 0


class Excluded(pydantic.BaseModel):
    a: int
    note: str = pydantic.Field(default="", exclude=True)


class Private(pydantic.BaseModel):
    a: int
    _seen: int = pydantic.PrivateAttr(default=0)


class Encrypted(pydantic.BaseModel):
    secret: pydantic.SecretStr

    @pydantic.field_serializer("secret", when_used="json")
    def _turned(self, value: pydantic.SecretStr) -> str:
        return value.get_secret_value()[::-1]

    @pydantic.field_validator("secret", mode="before")
    @classmethod
    def _back(cls, value: object) -> object:
        return value[::-1] if isinstance(value, str) else value


class Kitten(pydantic.BaseModel):
    kind: Literal["kitten"] = "kitten"
    lives: int = 9


class Puppy(pydantic.BaseModel):
    kind: Literal["puppy"] = "puppy"
    tricks: list[str] = []


Pet = Annotated[Kitten | Puppy, pydantic.Field(discriminator="kind")]


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Ids(pydantic.RootModel[list[int]]):
    pass


class Tree(pydantic.BaseModel):
    name: str
    children: list[Tree] = []


class Bigger(Aliased):
    extra: int = 0


class Partial(pydantic.BaseModel):
    name: str | None = None
    note: str | None = None


@pydantic.dataclasses.dataclass
class Checked:
    a: pydantic.PositiveInt
    b: str = pydantic.Field(default="b", alias="bee")


@dataclass
class Limited:
    count: Annotated[int, pydantic.Field(gt=0)]


MODEL = Aliased(projectId="p")
TAKEN: list[tuple[object, object]] = [
    (str, ""),
    (str, "\u202eé 😀"),
    (int, 2**53 + 1),
    (int, -(10**300)),
    (float, -0.0),
    (float, 5e-324),
    (float, 1e16),
    (float, 3),
    (bool, False),
    (None, None),
    (Number, Number(3)),
    (int | str, "3"),
    (float | None, None),
    (list[int] | str, [1]),
    (Optional[int], 1),  # noqa: UP045 - the older forms
    (Union[int, None, str], "1"),  # noqa: UP007
    (object, {"a": [1, 2.5, None, True, {"b": ""}]}),
    (dict, {}),
    (list, [[]]),
    (datetime, datetime(2026, 5, 1, 12, 30, 1, 7)),  # noqa: DTZ001
    (datetime, datetime(2026, 5, 1, tzinfo=UTC)),
    (datetime, datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))),
    (datetime, datetime(2026, 5, 1, tzinfo=BERLIN)),
    (datetime, datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)),
    (datetime, datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)),
    (date, date.max),
    (time, time(23, 59, 59, 999999)),
    (time, time(1, tzinfo=UTC)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (timedelta, timedelta.max),
    (Decimal, Decimal("1.100")),
    (Decimal, Decimal("-0.0000000000000000000000000000000001")),
    (Decimal, Decimal("Infinity")),
    (Decimal, Decimal("NaN")),
    (UUID, UUID(int=7)),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"x")),
    (memoryview, memoryview(b"x")),
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (Word, Word.YES),
    (str, Word.YES),
    (int, Level.LOW),
    (Rights, Rights.READ | Rights.WRITE),
    (Literal["a", 1] | None, "a"),
    (list[int], [1, 2]),
    (list[int], (1, 2)),
    (Sequence[int], (1, 2)),
    (Sequence[int], range(3)),
    (list[int], deque([1, 2])),
    (set[int], {1, 2}),
    (set[int], frozenset({1})),
    (AbstractSet[str], {"a"}),
    (frozenset[tuple[int, str]], frozenset({(1, "a")})),
    (set[int], [1, 2]),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], ()),
    (tuple[int, ...], [1, 2]),
    (dict[int, str], {1: "a", -2: "b"}),
    (dict[UUID, int], {UUID(int=1): 1}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[date, int], {date(2026, 1, 1): 1}),
    (dict[str, int], OrderedDict(b=1, a=2)),
    (dict[str, int], defaultdict(int, a=1)),
    (dict[str, int], Counter("aab")),
    (dict[str, int], ChainMap({"a": 1}, {"b": 2})),
    (Mapping[str, int], MappingProxyType({"a": 1})),
    (object, MappingProxyType({"a": 1})),
    (str, UserString("text")),
    (Pair, Pair(1)),
    (tuple[int, str], Pair(1, "x")),
    (Options, {"fast": True}),
    (Options, {"fast": True, "deep": [1]}),
    (NewerOptions, {"at": datetime(2026, 1, 1, tzinfo=UTC), "secret": pydantic.SecretStr("s")}),
    (Base, Base(1)),
    (Child, Child(a=1, made=[2])),
    (Nameless, Nameless(1)),
    (Box[int], Box(1)),
    (list[Box[datetime]], [Box(datetime(2026, 1, 1, tzinfo=UTC))]),
    (Crate, Crate(1)),
    (Plain, Plain(1)),
    (Renamed, Renamed("p")),
    (Cat | Dog, Dog(["sit"])),
    (Holder, Holder(MODEL)),
    (Holder | None, Holder(MODEL, "x")),
    (dict[str, Aliased | None], {"a": MODEL, "b": None}),
    (Account, Account(user="ann", password="correct horse", token=b"t", born=date(1990, 1, 1))),  # type: ignore[arg-type]
    (list[Account], [Account(user="ann", password="****")]),  # type: ignore[arg-type]
    (pydantic.SecretStr, pydantic.SecretStr("x")),
    (dict[str, pydantic.SecretBytes], {"a": pydantic.SecretBytes(b"x")}),
    (Encrypted, Encrypted.model_construct(secret=pydantic.SecretStr("abc"))),
    (Aliased, MODEL),
    (Aliased, Aliased(projectId="p", regionName="us")),
    (OnlyIn, OnlyIn(sizeInBytes=5, deep=2, many=[3])),  # type: ignore[call-arg]
    (OnlyOut, OnlyOut(size=5)),
    (Crossed, Crossed(a=1, b=2)),
    (Generated, Generated(projectId="p", isNew=False)),  # type: ignore[call-arg]
    (Closed, Closed(a=1)),
    (Open, Open(a=1, b=[2])),  # type: ignore[call-arg]
    (
        Strict,
        Strict(
            at=datetime(2026, 1, 1, tzinfo=UTC),
            key=UUID(int=1),
            colour=Colour.RED,
            wait=timedelta(seconds=-1),
            pair=(1, "a"),
            names=frozenset({"a"}),
            price=Decimal("1.10"),
            where=Path("/tmp/x"),
        ),
    ),
    (Made, Made()),
    (Excluded, Excluded(a=1)),
    (Private, Private(a=1)),
    (Pet, Puppy()),
    (list[Pet], [Kitten(), Puppy(tricks=["sit"])]),
    (Kitten | Puppy | int, Puppy()),
    (Page[int], Page[int](items=[1])),
    (Page[int], Page(items=[1])),
    (Annotated[Plain, pydantic.Field(description="x")], Plain(1)),
    (pydantic.JsonValue, {"a": [1, None]}),
    (pydantic.Json[list[int]], [1]),
    (Page[Aliased], Page[Aliased](items=[MODEL])),
    (Ids, Ids([1, 2])),
    (Tree, Tree(name="a", children=[Tree(name="b")])),
    (Checked, Checked(a=1, bee="x")),
    (tuple[Aliased, ...], (MODEL,)),
    (Limited, Limited(1)),
    (WithInitVar | Aliased, MODEL),
    (Annotated[int, pydantic.Field(gt=0)], 1),
    (list[Annotated[str, pydantic.StringConstraints(max_length=2)]], ["ab"]),
    (Annotated[int, annotated_types.Interval(ge=1, le=3)], 3),
    (Annotated[int, msgspec.Meta(gt=0)], 1),
    (Annotated[int, annotated_types.Unit("m"), "a note"], 1),
    (pydantic.HttpUrl, pydantic.HttpUrl("https://example.org/x")),
    (pydantic.PositiveInt, 3),
    # Given as the text or the object that is stored:
    (UUID, str(UUID(int=7))),
    (datetime, "2026-05-01T12:00:00+00:00"),
    (Decimal, "1.10"),
    (Colour, "red"),
    (Base, {"a": 1}),
    (Box[datetime], {"item": "2026-05-01T12:00:00+00:00"}),
    (Renamed, {"projectId": "p"}),
    (Cat | Dog, {"type": "Cat", "lives": 9}),
    (Aliased, {"projectId": "p"}),
    (Account, {"user": "ann", "password": "x"}),
    (pydantic.SecretStr, "x"),
]


@pytest.mark.parametrize(
    ("annotation", "value"), TAKEN, ids=[f"{n}-{type(one[1]).__name__}" for n, one in enumerate(TAKEN)]
)
def test_what_is_taken_comes_out_equal(annotation: object, value: object) -> None:
    back = travelled(annotation, value)

    assert difference(value, back) is None
    if (
        not isinstance(value, UserString)
        and isinstance(value, type(back))
        and type(value).__eq__ is not object.__eq__
        and str(value) != "NaN"
    ):
        assert back == value or isinstance(value, datetime)  # never equal in a repeated hour, across zones


def test_a_secret_arrives_in_plain_and_a_refusal_does_not_show_it() -> None:
    """Otherwise the handler is given asterisks for a password."""
    back = travelled(Account, Account(user="ann", password="correct horse"))  # type: ignore[arg-type]
    assert isinstance(back, Account)
    assert back.password.get_secret_value() == "correct horse"

    with pytest.raises(InvalidArgumentsError) as caught:
        taking(list[int | Account]).encode(([Account(user="x", password="horse"), "horse"],), {})  # type: ignore[arg-type]
    assert "horse" not in str(caught.value)


def test_a_model_keeps_which_of_its_fields_were_set() -> None:
    """A handler that updates what was set must not overwrite the rest with defaults."""
    back = travelled(Partial, Partial(note="x"))

    assert isinstance(back, Partial)
    assert back.model_dump(exclude_unset=True) == {"note": "x"}


# -- what is refused --------------------------------------------------------------------------------------


class Anything(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: object = None


class AnyItems(pydantic.RootModel[list[object]]): ...


class Either(pydantic.BaseModel):
    many: list[int] | tuple[int, ...] = []
    some: set[int] | frozenset[int] = set()
    ref: UUID | str = ""
    on: date | str = ""
    level: int | Level = 0


@pydantic.dataclasses.dataclass
class Checks:
    x: object


@dataclass
class Loose:
    items: list[int]
    ref: UUID | None = None


class Custom:
    pass


class Blob(str):
    __slots__ = ()


def _private() -> Private:
    made = Private(a=1)
    made._seen = 5
    return made


TEXT_OF_UUID = str(UUID(int=7))
REFUSED: list[tuple[object, object, str]] = [
    # What stands in a field is what its class made of it, and arrives as that:
    (Anything, Anything(x=(1, 2)), r"value\.x .*a tuple that would arrive as a list"),
    (Anything, Anything(x={"a": [(1,)]}), r"value\.x\.a\[0\] .*a tuple that would arrive as a list"),
    (Anything, Anything(other=(1,)), r"value\.other .*a tuple that would arrive as a list"),  # type: ignore[call-arg]
    (list[Anything], [Anything(x=(1,))], "a tuple that would arrive as a list"),
    (AnyItems, AnyItems([(1,)]), "a tuple that would arrive as a list"),
    (Checks, Checks((1,)), "a tuple that would arrive as a list"),
    (Loose, Loose((1,)), "a tuple that would arrive as a list"),  # type: ignore[arg-type]
    (Loose, Loose([1], TEXT_OF_UUID), "a str that would arrive as a UUID"),  # type: ignore[arg-type]
    (Either, Either(many=(1,)), "a tuple that would arrive as a list"),
    (Either, Either(some=frozenset({1})), "a frozenset that would arrive as a set"),
    (Either, Either(ref=TEXT_OF_UUID), "a str that would arrive as a UUID"),
    (Either, Either(on="2026-05-01"), "a str that would arrive as a date"),
    (
        Annotated[dict[str, object], pydantic.Field(min_length=1)],
        {"a": (1,)},
        "a tuple that would arrive as a list",
    ),
    # A text where a text may be meant:
    (UUID | str | Aliased, TEXT_OF_UUID, "a str that would arrive as a UUID"),
    (list[date] | list[str] | Aliased, ["2026-05-01"], "a str that would arrive as a date"),
    (int, True, "Expected `int`"),
    (bool, 1, "Expected `bool`"),
    (str, Colour.RED, "a Colour that would arrive as a str"),
    (str, b"x", "a bytes that would arrive as a str"),
    (bytes, "aGk=", "a str that would arrive as a bytes"),
    (float, 2**80 + 1, "a int that would arrive as a float"),
    (float, float("nan"), "must be a finite number"),
    (object, [1.0, float("inf")], r"value\[1\] must be a finite number"),
    (object, datetime(2026, 1, 1, tzinfo=UTC), "a datetime that would arrive as a str"),
    (object, UUID(int=1), "a UUID that would arrive as a str"),
    (object, (1, 2), "a tuple that would arrive as a list"),
    (dict[str, object], {"a": (1,)}, r"value\.a .*a tuple that would arrive as a list"),
    (object, {1, 2}, "a set that would arrive as a list"),
    (object, {1: "a"}, "whose key would change"),
    (object, {True: "a"}, "cannot be a key"),
    (object, {1: "a", "1": "b"}, "would"),
    (dict[str, int], {Colour.RED: 1}, "whose key would change"),
    (dict[tuple[int, int], int], {(1, 2): 3}, "cannot be a key"),
    (object, MODEL, "a Aliased that would arrive as a dict"),
    (object, Base(1), "a Base that would arrive as a dict"),
    (dict[str, object], Base(1), "a Base that would arrive as a dict"),
    (object, 1 + 2j, "complex is not a type that JSON can hold"),
    (object, Fraction(1, 2), "Fraction is not a type that JSON can hold"),
    (object, Custom(), "Custom is not a type that JSON can hold"),
    (object, iter([1]), "list_iterator is not a type that JSON can hold"),
    (object, range(10**12), "too long"),
    (Path, Path("x"), "PosixPath is not a type that JSON can hold"),
    (
        ipaddress.IPv4Address,
        ipaddress.IPv4Address("127.0.0.1"),
        "IPv4Address is not a type that JSON can hold",
    ),
    (re.Pattern, re.compile("x"), "Pattern is not a type that JSON can hold"),
    (ZoneInfo, BERLIN, "ZoneInfo is not a type that JSON can hold"),
    (complex, 1j, "complex is not a type that JSON can hold"),
    (str, "\ud800", "valid Unicode"),
    (str, "a\0", "NUL"),
    (list[str], ["ok", "\ud800"], "Unicode"),
    (datetime, datetime(2026, 10, 25, 2, 30, fold=1), "whose fold would be lost"),  # noqa: DTZ001
    (datetime, datetime(1800, 1, 1, tzinfo=BERLIN), "not of whole minutes"),
    (datetime, "2026-05-01T12:00:00.1234567Z", "finer than a microsecond"),
    (time, time(1, tzinfo=BERLIN), "time zone has no fixed offset"),
    (date, datetime(2026, 1, 1), "Invalid RFC3339"),  # noqa: DTZ001
    (timedelta, 5, "Expected `duration`"),
    (set[int], [1, 1], "a list that would arrive as a set"),
    (list[int], {1}, "a set that would arrive as a list"),
    (tuple[int, str], (1, "a", 2), "Expected `array` of length 2"),
    (Options, {"fast": True, "fsat": False}, r"value\.fsat"),
    (Base, Child(a=1), "a Child that would arrive as a Base"),
    (Base, {"a": 1, "b": 2}, r"value\.b .*would be lost"),
    (Renamed, {"projectId": "p", "region_nam": "us"}, "unknown field"),
    (Aliased, Bigger(projectId="p"), "a Bigger that would arrive as a Aliased"),
    (list[Aliased], [MODEL, Bigger(projectId="p", extra=1)], r"value\[1\]"),
    (Aliased, {"projectId": "p", "regionNam": "us"}, r"value\.regionNam .*would be lost"),
    (Holder, Holder(Bigger(projectId="p")), r"value\.model"),
    (Excluded, Excluded(a=1, note="kept?"), r"value\.note"),
    (Private, _private(), r"value\._seen"),
    (Ids, {"a": 1}, "valid array"),
    (Account, Account(user="ann", password="x", token=b"\xff"), "utf-8"),  # type: ignore[arg-type]
    (Closed, Closed.model_construct(a="no"), "valid integer"),
    (Annotated[int, pydantic.Field(gt=0)], 0, "greater than 0"),
    (Annotated[int, pydantic.Field(gt=0)], "1", "a str that would arrive as a int"),
    (Annotated[int, pydantic.Field(gt=0)], True, "a bool that would arrive as a int"),
    (list[Annotated[str, pydantic.StringConstraints(max_length=2)]], ["abc"], "at most 2"),
    (Annotated[str, pydantic.StringConstraints(to_lower=True)], "ABC", "would arrive changed"),
    (Annotated[int, annotated_types.Gt(0)] | None, 0, "greater than 0"),
    (Annotated[list[int], annotated_types.Len(1)], [], "at least 1"),
    (Annotated[int, msgspec.Meta(gt=0)], 0, ">= 1"),
    (Limited, Limited(0), "greater than 0"),
    (Checked, {"a": 0}, "greater than 0"),
    (pydantic.PositiveInt, -3, "greater than 0"),
    (pydantic.ByteSize, "1KB", "a serializer failed for a str"),
]


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    REFUSED,
    ids=[f"{n}-{type(one[1]).__name__}" for n, one in enumerate(REFUSED)],
)
def test_what_would_not_come_out_equal_is_refused_at_enqueue_and_the_argument_is_named(
    annotation: object, value: object, says: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=says) as caught:
        task_taking(annotation).new(value)

    assert caught.value.field.startswith("arguments")
    assert "value" in str(caught.value)


@pytest.mark.parametrize("stored", ["0", '"x"', "null"])
@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, pydantic.Field(gt=0)],
        Annotated[int, annotated_types.Gt(0)],
        Annotated[int, msgspec.Meta(gt=0)],
    ],
)
def test_a_constraint_holds_when_the_job_runs_too(annotation: object, stored: str) -> None:
    """A payload that something else wrote was never looked at before."""
    with pytest.raises(InvalidArgumentsError, match="must fit"):
        taking(annotation).decode(f'{{"value": {stored}}}')


def test_a_partial_keeps_the_annotations_of_its_function() -> None:
    def handler(login: Account, count: Annotated[int, pydantic.Field(gt=0)], note: str) -> None: ...

    arguments = Arguments(cast("Handler", functools.partial(handler, note="x")))
    login = Account(user="ann", password="x")  # type: ignore[arg-type]

    stored = encode_payload(arguments.encode((login, 1), {}))
    assert arguments.decode(stored)["login"] == login
    with pytest.raises(InvalidArgumentsError, match="greater than 0"):
        arguments.encode((login, 0), {})


def test_a_default_is_handed_to_the_handler_where_a_model_was_left_out() -> None:
    assert taking(Aliased, MODEL).decode("{}") == {"value": MODEL}


class BadStruct(msgspec.Struct):
    count: Annotated[int, pydantic.Field(gt=0)]


class MetaOptions(NewerTypedDict):
    count: Annotated[int, msgspec.Meta(gt=0)]
    model: Aliased


class Odd(annotated_types.BaseMetadata):
    pass


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (WithInitVar, "InitVar"),
        (JSONValue, "Sequence"),  # names that mean nothing where the alias is used
        (BadStruct, "use msgspec.Meta"),
        (Annotated[Plain, pydantic.Field(gt=1)], "need pydantic"),
        (MetaOptions, "does not enforce msgspec.Meta"),
        (Annotated[datetime, annotated_types.Timezone(None)], "nothing enforces Timezone"),
        (Annotated[int, Odd()], "nothing enforces Odd"),
        (Aliased | Plain, "union"),
        (Annotated[Custom, annotated_types.Gt(1)], "need pydantic"),
    ],
)
def test_a_constraint_that_cannot_be_enforced_is_refused_when_the_task_is_defined(
    annotation: object, says: str
) -> None:
    with pytest.raises(TaskDefinitionError, match=says):
        taking(annotation)


def test_a_field_for_a_default_is_refused_when_the_task_is_defined() -> None:
    """The handler would be given the FieldInfo, and nothing would hold it to the constraint."""
    with pytest.raises(TaskDefinitionError, match="Annotated"):
        taking(int, pydantic.Field(gt=0))


def test_the_argument_to_blame_is_named_and_not_its_value() -> None:
    def handler(first: str, second: dict[str, float]) -> None: ...

    arguments = Arguments(cast("Handler", handler))
    with pytest.raises(InvalidArgumentsError, match=r"arguments\.second\.s3 must be a finite number"):
        arguments.encode(("s3cret", {"s3": float("nan")}), {})
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments.encode(("s3cret", {"a": "s3cret"}), {})
    assert "s3cret" not in str(caught.value)


# -- subclasses -------------------------------------------------------------------------------------------


class Safe(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Count(int):
    def __int__(self) -> int:
        return -1


class Ratio(float): ...


class Moment(datetime): ...


class Day(date): ...


class Span(timedelta):
    days: ClassVar[property] = property(lambda _: 99)


class Price(Decimal): ...


class Raw(bytes): ...


class Sealed(str, Enum):  # noqa: UP042 - the older form, whose str() is the name of the member
    ONE = "one"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Safe("a"), "a"),
        (Count(3), 3),
        (Ratio(0.5), 0.5),
        (Moment(2026, 1, 1, tzinfo=BERLIN, fold=1), datetime(2026, 1, 1, tzinfo=BERLIN)),
        (Day(2026, 1, 1), date(2026, 1, 1)),
        (Span(seconds=5), timedelta(seconds=5)),
        (Price("1.10"), Decimal("1.10")),
        (Raw(b"x"), b"x"),
        (Sealed.ONE, "one"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_an_instance_of_a_subclass_is_stored_as_the_plain_value(
    value: object,
    plain: object,
    own: bool,  # noqa: FBT001
) -> None:
    """Safe strings of templates, numpy's floats, pendulum's times. Annotated itself, the subclass comes back."""
    back = travelled(type(value) if own else type(plain), value)

    assert back == plain
    assert type(back) is (type(value) if own else type(plain))
    assert encode_payload({"a": [value]}) == encode_payload({"a": [plain]})


# -- all of it at once ------------------------------------------------------------------------------------

ZONES = st.sampled_from([None, UTC, BERLIN, timezone(timedelta(hours=5, minutes=45))])
VALUES: dict[object, st.SearchStrategy[object]] = {
    str: st.text() | st.text().map(Blob),
    int: st.integers() | st.booleans(),
    float: st.floats(width=64) | st.integers(),
    bool: st.booleans() | st.integers(0, 1),
    datetime: st.datetimes(timezones=ZONES)
    | st.datetimes(timezones=ZONES).map(lambda at: at.replace(fold=1)),
    date: st.dates() | st.datetimes(),
    time: st.times(),
    timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False),
    UUID: st.uuids(),
    bytes: st.binary() | st.binary().map(bytearray),
    Colour: st.sampled_from([*Colour, "red"]),
    Rights: st.sampled_from([Rights.READ, Rights.READ | Rights.WRITE]),
    object: st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.uuids(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=6,
    ),
    Aliased: st.builds(lambda a, b: Aliased(projectId=a, regionName=b), st.text(), st.text()),
    Account: st.builds(lambda a, b: Account(user=a, password=b), st.text(), st.text()),
    Partial: st.builds(Partial) | st.builds(Partial, note=st.none() | st.text()),
    Child: st.builds(lambda a, b, c: Child(a=a, b=b, hidden=c), st.integers(), st.text(), st.integers()),
    Renamed: st.builds(Renamed, st.text(), st.text()),
    Pair: st.builds(Pair, st.integers(), st.text()),
}


def _wrapped(one: tuple[object, object]) -> st.SearchStrategy[tuple[object, object]]:
    annotation, value = one
    return st.sampled_from(
        [
            (annotation, value),
            (list[annotation], [value, value]),  # type: ignore[valid-type]
            (dict[str, annotation], {"a": value}),  # type: ignore[valid-type]
            (tuple[annotation, ...], (value,)),  # type: ignore[valid-type]
            (Sequence[annotation], (value,)),  # type: ignore[valid-type]
            (annotation | None, value),  # type: ignore[operator]
            (Box[annotation], Box(value)),  # type: ignore[valid-type]
            (dict[str, list[annotation] | None], {"a": [value], "b": None}),  # type: ignore[valid-type]
        ]
    )


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(list(VALUES))
    .flatmap(lambda kind: VALUES[kind].map(lambda value: (kind, value)))
    .flatmap(_wrapped)
)
def test_any_value_of_any_type_comes_out_equal_or_is_refused(one: tuple[object, object]) -> None:
    annotation, value = one
    try:
        back = travelled(annotation, value)
    except InvalidArgumentsError:
        return
    assert difference(value, back) is None


def test_a_class_that_cannot_be_compared_is_never_said_to_be_equal() -> None:
    assert difference(Custom(), Custom()) is not None


def test_the_annotations_are_looked_through_once_however_they_refer_to_themselves() -> None:
    assert travelled(list[Tree], [Tree(name="a")]) == [Tree(name="a")]


def test_a_plain_job_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path: JSON's own types where they are asked for need no look at all."""

    def handler(a: int, b: str, c: float | None = None, *, d: bool = False) -> None: ...

    arguments = Arguments(cast("Handler", handler))
    converted: list[object] = []
    monkeypatch.setattr(arguments, "_encoded", converted.append)

    assert arguments.encode((1, "b"), {"d": True}) == {"a": 1, "b": "b", "d": True}
    assert converted == []


def _unused(callback: Callable[[], None] | None = None) -> None: ...


def test_a_parameter_that_cannot_be_stored_may_keep_its_default() -> None:
    assert Arguments(cast("Handler", _unused)).encode((), {}) == {}
