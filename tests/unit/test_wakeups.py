"""The words on the channel: what is written is read back, and nothing that strangers send does harm."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.wakeups import Cancel, LimitChanged, Wake, read

NAMES = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=100)


@given(name=NAMES, job_id=st.uuids())
def test_what_is_written_is_read_back(name: str, job_id: UUID) -> None:
    for wakeup in (Wake(name), LimitChanged(name), Cancel(job_id)):
        assert read(wakeup.word) == wakeup


@given(
    st.text(max_size=60)
    | st.text(alphabet="cancel:limit{}-0123456789abcdefABCDEF", max_size=60).map("cancel:".__add__)
)
def test_no_word_is_an_error(word: str) -> None:
    read(word)


JOB = UUID("0191c2d3-e4f5-7a6b-8c7d-9e0f1a2b3c4d")


@pytest.mark.parametrize(
    "word",
    ["", "cancel:", "limit:", "cancel:nobody", f"cancel:{{{JOB}}}", f"cancel:{JOB.hex}", f"cancel:urn:uuid:{JOB}",
     f"cancel: {JOB}", f"cancel:{JOB} ", "cancel:" + "-" * 36, "cancel:" + "g" * 36, "limit:" + "q" * 101, "x" * 7999],
)  # fmt: skip
def test_what_no_program_of_ours_sends_means_nothing(word: str) -> None:
    assert read(word) is None


def test_an_id_in_capitals_is_the_same_job() -> None:
    assert read(f"cancel:{str(JOB).upper()}") == Cancel(JOB)
