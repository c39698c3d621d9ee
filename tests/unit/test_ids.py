"""Job ids are UUIDs of version 7 that sort by the time they were made, also across threads and forks."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane import ids
from jobplane.ids import id_from_key, new_job_id


def _milliseconds(job_id: UUID) -> int:
    return job_id.int >> 80


def test_an_id_has_the_version_and_variant_bits_of_uuid_7() -> None:
    made = [new_job_id() for _ in range(1000)]

    assert {job_id.version for job_id in made} == {7}
    assert {job_id.variant for job_id in made} == {RFC_4122}


def test_an_id_begins_with_the_time_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)

    before = time.time_ns() // 1_000_000
    made = new_job_id()
    after = time.time_ns() // 1_000_000

    assert before <= _milliseconds(made) <= after


def test_ids_of_one_process_rise_as_they_are_made_and_as_text() -> None:
    made = [new_job_id() for _ in range(20_000)]

    assert made == sorted(made)
    assert [str(job_id) for job_id in made] == sorted(str(job_id) for job_id in made)
    assert len(set(made)) == len(made)


def test_ids_go_on_rising_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_job_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)

    second = new_job_id()

    assert second > first


def test_more_ids_in_a_millisecond_than_the_sequence_holds_go_on_rising(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 4_000_000_000_000_000_000)
    monkeypatch.setattr(ids, "_last", 0)

    made = [new_job_id() for _ in range(10_000)]

    assert made == sorted(made)
    assert {job_id.version for job_id in made} == {7}
    assert _milliseconds(made[-1]) - _milliseconds(made[0]) == 2


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_job_id(), range(8000)))

    assert len(set(made)) == 8000


def test_a_forked_child_does_not_repeat_its_parents_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 4_000_000_000_000_000_000)
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(write, new_job_id().bytes)
        os._exit(0)
    ours = new_job_id()
    os.waitpid(child, 0)
    theirs = UUID(bytes=os.read(read, 16))
    os.close(read)
    os.close(write)

    assert ours.int >> 64 == theirs.int >> 64, "the same time and sequence: only the random bits can differ"
    assert ours != theirs


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_key_always_gives_the_same_id_and_another_key_another(one: str, other: str) -> None:
    assert id_from_key(one) == id_from_key(one)
    assert (id_from_key(one) == id_from_key(other)) is (one == other)


def test_the_id_of_a_key_is_pinned_since_releases_must_agree_on_it() -> None:
    assert id_from_key("order-1") == UUID("d755d0e8-7e9e-5247-9812-a6e5f3ab52bc")
