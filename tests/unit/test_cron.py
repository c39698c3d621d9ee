"""Cron expressions against an oracle that walks real minutes (F23b), and against anything that is no expression (F33)."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobplane import InvalidInputError
from jobplane.cron import parse_cron
from tests.support import LONG, SLACK

ZONES = {
    "America/New_York": 2020,
    "Europe/Berlin": 2020,
    "Australia/Lord_Howe": 2020,  # half an hour
    "America/Santiago": 2018,  # no midnight, and a law that changed in 2019
    "America/Asuncion": 2023,  # as Santiago, and the end of it in 2024
    "Pacific/Apia": 2011,  # 30 December 2011 never was
    "Asia/Kathmandu": 2020,  # 5:45, no changes
    "Africa/Casablanca": 2018,  # four changes a year, around Ramadan
    "Antarctica/Troll": 2020,  # two hours at once
}
"""The year in which a walk begins. It takes two years, and in the long profile ten, of which these are the fifth and sixth."""
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Walk:
    """The years of one zone, walked in quarters of an hour of real time: no zone changes its clocks within one."""

    quarters: list[list[tuple[datetime, datetime]]]
    """For each of the 96 quarters of a day: when it began, in UTC and on the clocks, each time it came."""
    gaps: list[tuple[datetime, datetime, datetime]]
    """When clocks jumped ahead: the moment, what they would have shown, and what they showed."""


@lru_cache(maxsize=1)
def walk(zone: str) -> Walk:
    """The oracle's raw material, by nothing but the question what the clocks show at a moment."""
    info = ZoneInfo(zone)
    moment, end = years(zone)
    found = Walk([[] for _ in range(96)], [])
    would_show = moment.astimezone(info).replace(tzinfo=None)
    while moment < end:
        local = moment.astimezone(info).replace(tzinfo=None)
        found.quarters[local.hour * 4 + local.minute // 15].append((moment, local))
        if local > would_show:
            found.gaps.append((moment, would_show, local))
        would_show = local + timedelta(minutes=15)
        moment += timedelta(minutes=15)
    return found


def years(zone: str) -> tuple[datetime, datetime]:
    """Which time of a zone is looked at."""
    first, last = (ZONES[zone] - 4, ZONES[zone] + 6) if LONG else (ZONES[zone], ZONES[zone] + 2)
    return datetime(first, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)


def expected(
    zone: str, wanted: list[tuple[int, int]], days: set[date] | None = None, *, real: bool = False
) -> list[datetime]:
    """The ticks by looking at minutes. `wanted` are hours and minutes; `days` the local dates, None for all."""
    walked = walk(zone)
    minutes = {hour * 60 + minute for hour, minute in wanted}

    def fits(at: datetime) -> bool:
        return at.hour * 60 + at.minute in minutes and (days is None or at.date() in days)

    found, seen = set(), set()
    for quarter in range(96):
        wanted_here = [timedelta(minutes=minute % 15) for minute in minutes if minute // 15 == quarter]
        for moment, local in walked.quarters[quarter] if wanted_here else ():
            for minute in wanted_here:
                at = local + minute
                if (days is None or at.date() in days) and (real or at not in seen):
                    found.add(moment + minute)
                    seen.add(at)
    for moment, would_show, shows in () if real else walked.gaps:
        # Left out: each of those minutes comes as long after the gap as it lies in it.
        missing = would_show
        while missing < shows:
            if fits(missing):
                found.add(moment + (missing - would_show))
            missing += timedelta(minutes=1)
    begin, end = years(zone)
    return sorted(tick for tick in found if begin < tick < end)


@pytest.fixture(scope="module", params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    """Each zone in its turn, with all tests of it, so that it is walked once."""
    return str(request.param)


def all_days(zone: str) -> Iterator[date]:
    begin, end = years(zone)
    for ordinal in range(begin.toordinal() - 31, end.toordinal() + 31):
        yield date.fromordinal(ordinal)


@pytest.mark.parametrize(
    ("text", "wanted", "real"),
    [
        ("30 2 * * *", [(2, 30)], False),
        ("0 0 * * *", [(0, 0)], False),
        ("15,45 1-3 * * *", [(hour, minute) for hour in (1, 2, 3) for minute in (15, 45)], False),
        ("*/15 * * * *", [(hour, minute) for hour in range(24) for minute in (0, 15, 30, 45)], True),
        ("7 * * * *", [(hour, 7) for hour in range(24)], True),
        ("0 */2 * * *", [(hour, 0) for hour in range(0, 24, 2)], True),
    ],
)
def test_all_ticks_are_those_of_a_walk_over_every_minute(
    zone: str, text: str, wanted: list[tuple[int, int]], *, real: bool
) -> None:
    ticks = list(_until(text, zone, *years(zone)))

    assert ticks == expected(zone, wanted, real=real)


def test_rare_days_are_those_of_a_walk_over_every_minute(zone: str) -> None:
    cases = {
        "0 12 29 2 *": (12, {day for day in all_days(zone) if (day.month, day.day) == (2, 29)}),
        "0 0 31 * *": (0, {day for day in all_days(zone) if day.day == 31}),
        "0 4 L * *": (
            4,
            {day for day in all_days(zone) if day.day == calendar.monthrange(day.year, day.month)[1]},
        ),
        "0 6 13 * fri": (6, {day for day in all_days(zone) if day.day == 13 or day.weekday() == 4}),
        "0 6 */2 * mon": (6, {day for day in all_days(zone) if day.day % 2 and day.weekday() == 0}),
    }
    for text, (hour, days) in cases.items():
        ticks = list(_until(text, zone, *years(zone)))

        assert ticks == expected(zone, [(hour, 0)], days), text


@pytest.mark.parametrize(("day", "count"), [(date(2026, 10, 25), 100), (date(2026, 3, 29), 92)])
def test_every_quarter_of_an_hour_follows_real_time(day: date, count: int) -> None:
    """F23b: 100 ticks on the day of 25 hours, 92 on that of 23."""
    info = ZoneInfo("Europe/Berlin")
    begin = datetime(day.year, day.month, day.day, tzinfo=info).astimezone(UTC)
    end = datetime(day.year, day.month, day.day + 1, tzinfo=info).astimezone(UTC) if day.day < 31 else begin
    ticks = list(_until("*/15 * * * *", "Europe/Berlin", begin - timedelta(seconds=1), end))

    assert len(ticks) == count
    assert {after - before for before, after in pairwise(ticks)} == {timedelta(minutes=15)}


def test_a_fixed_hour_runs_exactly_once_on_each_local_day(zone: str) -> None:
    info = ZoneInfo(zone)
    walked = sorted({local.date() for quarter in walk(zone).quarters for _, local in quarter})[1:-1]

    for hour in (0, 1, 2, 3, 23):
        ticks = _until(f"30 {hour} * * *", zone, *years(zone))

        days = [tick.astimezone(info).date() for tick in ticks]
        assert [day for day in days if walked[0] <= day <= walked[-1]] == walked, hour


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("@hourly", ["2026-01-01 01:00", "2026-01-01 02:00"]),
        ("@daily", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("@weekly", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("@monthly", ["2026-02-01 00:00", "2026-03-01 00:00"]),
        ("@YEARLY", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        (
            "0 9-17/4 * * MON-FRI",
            ["2026-01-01 09:00", "2026-01-01 13:00", "2026-01-01 17:00", "2026-01-02 09:00"],
        ),
        ("5/20 0 * * *", ["2026-01-01 00:05", "2026-01-01 00:25", "2026-01-01 00:45", "2026-01-02 00:05"]),
        ("0 0 * jan,Mar 7", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("  0   0  1  1  * ", ["2027-01-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 31 2 mon", ["2026-02-02 00:00"]),
        ("@every 6h", ["2026-01-01 06:00", "2026-01-01 12:00"]),
    ],
)
def test_what_expressions_mean(text: str, ticks: list[str]) -> None:
    found = islice(parse_cron(text).ticks(NEW_YEAR), len(ticks))

    assert [tick.strftime("%Y-%m-%d %H:%M") for tick in found] == ticks


def test_intervals_are_counted_from_the_epoch_whoever_asks_and_when() -> None:
    cron = parse_cron("@every 90s", "Europe/Berlin")

    for second in (0, 1, 89, 90, 1234):
        tick = cron.next(NEW_YEAR + timedelta(seconds=second))
        assert tick is not None
        assert tick.timestamp() % 90 == 0
        assert 0 < tick.timestamp() - NEW_YEAR.timestamp() - second <= 90


def test_29_february_is_found_over_the_eight_years_without_one() -> None:
    assert parse_cron("0 0 29 2 *").next(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(
        2104, 2, 29, tzinfo=UTC
    )


def test_the_newest_ticks_of_a_long_time_are_found_without_walking_it() -> None:
    until = NEW_YEAR + timedelta(seconds=30)
    for text in ("* * * * *", "@every 1s", "0 0 29 2 *", "30 2 * * *"):
        cron = parse_cron(text, "Europe/Berlin")
        began = time.process_time()
        newest = cron.newest(NEW_YEAR - timedelta(days=365 * 20), until, 100)
        assert time.process_time() - began < 1 * SLACK
        assert newest == sorted(newest)
        assert newest[-1] <= until
        following = cron.next(newest[-1])
        assert following is None or following > until
        assert len(newest) == (5 if "29" in text else 100)


def test_newest_is_the_end_of_all_ticks() -> None:
    cron = parse_cron("*/7 3,4 * * *", "America/New_York")
    begin, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC)
    every = list(_until("*/7 3,4 * * *", "America/New_York", begin, end))

    for most in (1, 2, 17, 500):
        assert cron.newest(begin, end, most) == every[-most:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 31 2 *", "never runs"),
        ("0 0 30 feb *", "never runs"),
        ("0 0 31 4,6,9,11 *", "never runs"),
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "numbers from 0 to 59"),
        ("* 24 * * *", "hour, not 24"),
        ("* * 0 * *", "day of the month, not 0"),
        ("* * * 13 *", "month, not 13"),
        ("* * * * 8", "day of the week, not 8"),
        ("* * * * fri-mon", "day of the week, not fri-mon"),
        ("*/0 * * * *", "minute, not"),
        ("5-1 * * * *", "minute, not 5-1"),
        ("*/90 * * * *", "for an interval @every"),
        ("*/60 * * * *", "steps of at most 59"),
        ("0 */36 * * *", "hour, not */36"),
        ("0 0 */40 * *", "day of the month, not */40"),
        ("0 0 1 */13 *", "month, not */13"),
        ("0 0 * * */8", "day of the week, not */8"),
        ("0-30/45 * * * *", "steps of at most 30"),
        ("50/10 * * * *", "which is 50 alone"),
        ("0,*/75 * * * *", "not */75"),
        ("1, * * * *", "minute, not"),
        ("*-5 * * * *", "minute, not"),
        ("٣ * * * *", "ASCII"),
        ("1" * 300, "at most 255"),
        ("@reboot", "must be one of @yearly"),
        ("@every", "@every with 1s to 24h"),
        ("@every 0s", "@every with 1s to 24h"),
        ("@every 25h", "@every with 1s to 24h"),
        ("@every 1d", "@every with 1s to 24h"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_cron(text)

    assert words in str(caught.value)
    assert str(caught.value).startswith("cron ")


def test_a_stored_expression_goes_on_to_mean_what_it_meant() -> None:
    """Steps wider than their field were taken once."""
    at_midnight = parse_cron("*/90 */36 * * *", stored=True)

    assert at_midnight.next(NEW_YEAR) == NEW_YEAR + timedelta(days=1)


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "America", "UTC\x00", "a" * 300, "Europe/", "Ü"],
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInputError, match="timezone must be a time zone such as UTC"):
        parse_cron("@daily", zone)


_WORDS = st.sampled_from(
    [
        "*",
        "*/2",
        "0",
        "59",
        "1-5",
        "1-31/3",
        "L",
        "mon",
        "fri-sun",
        "jan",
        "dec",
        "31",
        "29",
        "2",
        "7",
        "1,2,3",
        "/",
        "-",
    ]
)
_TEXT = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="0123456789*/,-@ lLabcdefjmnorsuvy", max_size=60),
    st.lists(_WORDS, min_size=4, max_size=6).map(" ".join),
    st.builds(
        " ".join, st.lists(st.lists(_WORDS, min_size=1, max_size=4).map(",".join), min_size=5, max_size=5)
    ),
)


@settings(max_examples=6000 if LONG else 300)
@given(text=_TEXT, zone=st.one_of(st.sampled_from(sorted(ZONES)), st.text(max_size=20)))
@example("* 0-22 29 2 *", "Antarctica/Troll")
@example("59 23 31 12 L", "Pacific/Apia")
def test_anything_is_an_expression_or_a_clear_error_and_never_slow(text: str, zone: str) -> None:
    """F33: only InvalidInputError; no run longer than a second."""
    began = time.process_time()
    try:
        cron = parse_cron(text, zone)
        found = list(islice(cron.ticks(NEW_YEAR), 3))
        newest = cron.newest(NEW_YEAR - timedelta(days=400), NEW_YEAR, 50)
    except InvalidInputError as error:
        assert error.field in {"cron", "timezone"}  # noqa: PT017 - most of what is tried is no expression
    else:
        assert found == sorted(set(found))
        assert len(found) == 3
        assert all(tick > NEW_YEAR for tick in found)
        assert newest == sorted(set(newest))
    assert time.process_time() - began < 1 * SLACK


def test_the_calendar_ends_quietly() -> None:
    end = datetime(9999, 12, 30, tzinfo=UTC)

    for text in ("@daily", "* * * * *", "0 0 29 2 *", "@every 24h"):
        assert len(list(parse_cron(text).ticks(end))) < 3000


def _until(text: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    for tick in parse_cron(text, zone).ticks(begin):
        if tick >= end:
            return
        yield tick
