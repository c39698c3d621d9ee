"""Each limit of the contract: its edges pass, one step further is refused, naming field, value and limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane import InvalidInputError, JobType
from jobplane.limits import (
    check_delay,
    check_key,
    check_max_attempts,
    check_priority,
    check_queue,
    check_scheduled_at,
    check_tags,
    check_type,
)


@pytest.mark.parametrize("check", [check_type, check_queue])
@pytest.mark.parametrize("name", ["a", "Z", "0", "_", "-", "provision_project", "A-z_09", "x" * 100])
def test_a_name_of_allowed_characters_passes(check: Callable[[object], str], name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize(("check", "field"), [(check_type, "type"), (check_queue, "queue")])
@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a.b",
        "a/b",
        "os.system",
        "naïve",
        "\uff46\uff55",
        "٣",
        "a\0",
        "a\n",
        "\na",
        "x" * 101,
        "'; --",
        "\ud800",
    ],
)
def test_any_other_name_is_refused(check: Callable[[object], str], field: str, name: str) -> None:
    with pytest.raises(InvalidInputError, match="must be 1 to 100 characters") as caught:
        check(name)

    assert caught.value.field == field
    assert str(caught.value).isascii() or "…" in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, b"work", ["work"], True])
def test_a_name_must_be_text(value: object) -> None:
    with pytest.raises(InvalidInputError):
        check_type(value)


def test_a_job_type_of_the_enum_becomes_plain_text() -> None:
    assert type(check_type(JobType.ROTATE_KEY)) is str


@given(st.text(max_size=120))
def test_a_name_passes_exactly_when_it_fits_the_pattern(name: str) -> None:
    allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    fits = 1 <= len(name) <= 100 and allowed.issuperset(name)

    try:
        check_type(name)
    except InvalidInputError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    ("check", "least", "most"),
    [(check_priority, 0, 1000), (check_max_attempts, 1, 100)],
    ids=["priority", "attempts"],
)
def test_a_whole_number_passes_up_to_its_edges(check: Callable[[object], int], least: int, most: int) -> None:
    assert [check(least), check(most)] == [least, most]
    for value in (least - 1, most + 1, 2**70, -(2**70), float(least), "5", None, True, math.nan):
        with pytest.raises(InvalidInputError, match=f"whole number from {least} to {most}"):
            check(value)


@pytest.mark.parametrize(
    "delay", [0, 0.5, 86400, timedelta(0), timedelta(hours=24), timedelta(microseconds=1)]
)
def test_a_delay_of_0_to_24_hours_passes(delay: timedelta | float) -> None:
    assert timedelta(0) <= check_delay(delay) <= timedelta(hours=24)


@pytest.mark.parametrize(
    "delay",
    [
        -1,
        -1e-6,
        86400.001,
        timedelta(seconds=-1),
        timedelta(hours=24, microseconds=1),
        math.nan,
        math.inf,
        1e300,
        10**400,
        "60",
        None,
        True,
        timedelta.max,
        timedelta.min,
    ],
)
def test_any_other_delay_is_refused(delay: object) -> None:
    with pytest.raises(InvalidInputError, match="between 0 and 24 hours") as caught:
        check_delay(delay)

    assert caught.value.field == "delay"


def test_a_due_time_may_be_past_or_up_to_a_year_ahead() -> None:
    now = datetime.now(UTC)

    for due in (now, now - timedelta(days=4000), now + timedelta(days=366), datetime.min.replace(tzinfo=UTC)):
        assert check_scheduled_at(due) == due


@pytest.mark.parametrize("due", [datetime(2030, 1, 1), "2030-01-01", 1893456000, None, timedelta(days=1)])  # noqa: DTZ001
def test_a_due_time_without_zone_or_of_another_type_is_refused(due: object) -> None:
    with pytest.raises(InvalidInputError, match="must be a datetime with a time zone"):
        check_scheduled_at(due)


def test_a_due_time_more_than_a_year_ahead_is_refused() -> None:
    late = datetime.now(UTC) + timedelta(days=366, minutes=1)

    for due in (late, late.astimezone(timezone(timedelta(hours=-12))), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(InvalidInputError, match="at most a year"):
            check_scheduled_at(due)


@pytest.mark.parametrize("key", ["k", "x" * 255, "Zoë ☃ 𝄞", "'; DROP TABLE", " "])
def test_a_key_of_printable_characters_passes(key: str) -> None:
    assert check_key("unique_key", key) == key


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0", "a\nb", "\ud800", "\u2028", None, 7, b"k"])
def test_any_other_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^unique_key must be 1 to 255 printable"):
        check_key("unique_key", key)


def test_up_to_20_tags_pass() -> None:
    tags = [f"tag-{number}" for number in range(20)]

    assert check_tags(tags) == tuple(tags)
    assert check_tags(iter(["a"])) == ("a",)
    assert check_tags([]) == ()
    with pytest.raises(InvalidInputError, match="tags must be at most 20; got 21"):
        check_tags([*tags, "one more"])


def test_one_string_is_not_a_list_of_tags() -> None:
    with pytest.raises(InvalidInputError, match="not one string"):
        check_tags("abc")


@pytest.mark.parametrize("tags", [[""], ["ok", 7], ["a\0"], [None], ["x" * 256]])
def test_a_tag_that_is_no_printable_text_is_refused(tags: list[object]) -> None:
    with pytest.raises(InvalidInputError, match=r"^tags must be 1 to 255 printable"):
        check_tags(tags)


@pytest.mark.parametrize("value", [7, None, object()])
def test_what_is_no_list_of_tags_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="tags"):
        check_tags(value)  # type: ignore[arg-type]


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("value", [_Unprintable(), "x" * 10_000_000, "\x1b[31m\r\n", [["y"] * 1000]])
def test_the_error_shows_any_value_briefly_and_without_control_characters(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_type(value)

    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, ValueError)
