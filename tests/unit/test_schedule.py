"""Which ticks are made when: on time, late, and after an outage (I17, the policies of F23)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobplane import InvalidInputError, Missed
from jobplane.schedule import LATE, Watched, decide, new_schedule

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def watched(
    cron: str, last_tick: datetime, missed: Missed = Missed.LATEST, cap: int = 100, timezone: str = "UTC"
) -> Watched:
    """A schedule as a scheduler sees it."""
    return Watched("s", cron, timezone, 1, last_tick, missed, cap)


@pytest.mark.parametrize("missed", Missed)
def test_a_tick_that_is_due_is_made_whatever_the_policy(missed: Missed) -> None:
    decision = decide(watched("* * * * *", NOON - timedelta(minutes=1), missed), NOON + SECOND)

    assert decision.ticks == (NOON,)
    assert (decision.newest, decision.look_at) == (NOON, NOON + timedelta(minutes=1))


def test_nothing_is_made_before_its_time() -> None:
    decision = decide(watched("* * * * *", NOON), NOON + timedelta(seconds=59))

    assert decision.ticks == ()
    assert (decision.newest, decision.look_at) == (NOON, NOON + timedelta(minutes=1))


@pytest.mark.parametrize("missed", Missed)
def test_a_restart_is_no_outage_all_ticks_of_half_a_minute_are_made(missed: Missed) -> None:
    decision = decide(watched("@every 1s", NOON, missed, cap=3), NOON + LATE + SECOND)

    assert decision.ticks == tuple(NOON + number * SECOND for number in range(1, 32))


@pytest.mark.parametrize(
    ("missed", "cap", "made"),
    [(Missed.SKIP, 100, 0), (Missed.LATEST, 100, 1), (Missed.ALL, 100, 100), (Missed.ALL, 1000, 600)],
)
def test_after_an_outage_of_ten_minutes_the_policy_decides(missed: Missed, cap: int, made: int) -> None:
    """F23: skip 0, latest 1, all = min(n, cap)."""
    now = NOON + timedelta(minutes=10)

    decision = decide(watched("@every 1s", NOON, missed, cap), now)

    assert decision.ticks == tuple(now - number * SECOND for number in reversed(range(made)))
    assert (decision.newest, decision.look_at) == (now, now + SECOND)


def test_an_outage_without_a_tick_in_it_is_none() -> None:
    decision = decide(watched("0 13 * * *", NOON - timedelta(days=1), Missed.SKIP), NOON - SECOND)
    assert len(decision.ticks) == 0

    again = decide(watched("0 13 * * *", decision.newest, Missed.SKIP), NOON + timedelta(hours=1))
    assert again.ticks == (NOON + timedelta(hours=1),)


def test_a_zone_that_is_unknown_here_is_said() -> None:
    with pytest.raises(InvalidInputError, match="Mars"):
        decide(watched("@daily", NOON, timezone="Mars/Olympus"), NOON)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "no blanks"}, "name"),
        ({"name": ""}, "name"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"timezone": "nowhere"}, "timezone"),
        ({"type": "no/slash"}, "type"),
        ({"payload": {"a": float("nan")}}, "payload.a"),
        ({"missed": "sometimes"}, "missed"),
        ({"missed_cap": 0}, "missed_cap"),
        ({"missed_cap": 1001}, "missed_cap"),
        ({"options": {"priority": 1001}}, "priority"),
        ({"options": {"tags": [str(number) for number in range(19)]}}, "tags"),
        ({"options": {"delay": 5}}, "options"),
        ({"options": {"idempotency_key": "once"}}, "options"),
    ],
)
def test_a_wish_outside_of_its_limits_is_refused_by_name(wrong: dict[str, object], field: str) -> None:
    wish: dict[str, object] = {"name": "s", "cron": "@daily", "type": "work", **wrong}

    with pytest.raises(InvalidInputError) as caught:
        new_schedule(**wish)  # type: ignore[arg-type]

    assert caught.value.field == field
