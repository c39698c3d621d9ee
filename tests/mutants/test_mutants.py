"""The breakers break what matters, and the list of equivalents names mutants that exist."""

from __future__ import annotations

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.mutate_python import mutants_of as of_module
from tests.mutants.targets import STATEMENTS, TESTS, mutants_of


@pytest.mark.parametrize(
    "mutant",
    [
        "job/claim: SKIP LOCKED #1 -> nothing",
        "job/claim: NO KEY #1 -> nothing",
        "job/claim: SET lease_epoch left out",
        "job/claim: AND due.scheduled_at <= now(): <= -> <",
        "job/complete: AND job.lease_epoch = CASE job.status WHEN 'running' THEN done.epoch END -> true",
        "job/rescue: AND earlier_crashes + 1 >= :crash_limit::bigint: >= -> >",
        "job/rescue: THEN 'failed' ELSE 'pending': exchanged",
        "job/finish: GREATEST(job.attempts - verdict.given_back, 0) -> job.attempts - verdict.given_back",
        'jobplane.job: without TERMINAL in `"retry": (TERMINAL, frozenset({JobStatus.PENDING})),`',
    ],
)
def test_the_slips_that_queues_have_really_made_are_among_the_mutants(mutant: str) -> None:
    target = mutant.split(": ", maxsplit=1)[0]

    assert mutant in {str(one) for one in mutants_of(target)}


@pytest.mark.parametrize("target", TESTS)
def test_each_mutant_is_another_text_under_a_name_of_its_own(target: str) -> None:
    mutants = list(mutants_of(target))

    assert len(mutants) >= 10, "the shortest statement has as many"
    assert (
        len({str(mutant) for mutant in mutants}) == len({mutant.text for mutant in mutants}) == len(mutants)
    )


def test_no_statement_loses_its_parameters_place_or_schema() -> None:
    for target in STATEMENTS:
        assert all("{schema}" in mutant.text for mutant in mutants_of(target))


def test_what_is_said_to_be_equivalent_exists() -> None:
    every = {str(mutant) for target in TESTS for mutant in mutants_of(target)}

    assert EQUIVALENT.keys() <= every


def test_annotations_docstrings_and_texts_for_people_are_left_alone() -> None:
    text = '"""One."""\n\ndef f(x: int | None = None) -> "str":\n    """Two."""\n    raise ValueError("for people")\n'

    assert [mutant.change for mutant in of_module("m", text)] == [
        'left out in `raise ValueError("for people")`'
    ]
