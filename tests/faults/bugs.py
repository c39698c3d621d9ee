"""Mistakes that other queues made, planted on purpose: the fault suite must turn red with each of them.

`plant(name)` puts one into this process, before it has read its first statement: a changed text of a statement, or a
wrapped method. Workers of the suite plant what JOBPLANE_TEST_BUG names, and so does the suite's own process. `python
-m tests.faults.bite` shows that each is caught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.faults import (
    mistakes,
    mistakes_of_clients,
    mistakes_of_processes,
    mistakes_of_sessions,
    mistakes_of_workers,
)


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake.

    Attributes:
        number: in the list of the promises.
        what: the mistake.
        where: who made it.
        plant: makes it here.
        caught_by: the smallest scenario that must turn red, as pytest names it, below tests/faults.
    """

    number: int
    what: str
    where: str
    plant: Callable[[], None]
    caught_by: str


def plant(name: str) -> None:
    """Make a mistake in this process."""
    BUGS[name].plant()


_FENCING: Final = "test_fencing.py::test_"
_ALL: Final = (
    Bug(
        1,
        "complete without the epoch",
        "oban-py, pgqueuer",
        mistakes.complete_without_epoch,
        f"{_FENCING}f3_writes_under_an_old_epoch_are_refused",
    ),
    Bug(
        2,
        "rescue by id only",
        "riverqueue/river#1302",
        mistakes.rescue_by_id_only,
        f"{_FENCING}f3_a_renewal_under_way_wins_against_the_rescue",
    ),
    Bug(
        3,
        "epoch made from the attempts",
        "wavect/semaprax#192",
        mistakes.epoch_from_attempts,
        f"{_FENCING}f2_every_claim_has_an_epoch_of_its_own",
    ),
    Bug(
        4,
        "attempt counted when it ends",
        "procrastinate",
        mistakes.attempt_counted_at_finish,
        f"{_FENCING}f19_a_job_whose_workers_die_runs_out_of_attempts",
    ),
    Bug(
        5,
        "recovery raises max_attempts",
        "chancy",
        mistakes.recovery_raises_max_attempts,
        f"{_FENCING}f19_a_job_whose_workers_die_runs_out_of_attempts",
    ),
    Bug(
        6,
        "heartbeat by id only",
        "pgqueuer",
        mistakes.heartbeat_by_id_only,
        f"{_FENCING}f3_writes_under_an_old_epoch_are_refused",
    ),
    Bug(
        7,
        "sweeper discards unknown types",
        "riverqueue/river#1105",
        mistakes.sweeper_discards_unknown_types,
        f"{_FENCING}f22_a_sweeper_of_an_older_release_leaves_new_types_alone",
    ),
    Bug(
        8,
        "raw error text stored",
        "delayed_job#790",
        mistakes.raw_error_text,
        f"{_FENCING}f21_errors_that_no_database_stores_are_recorded_all_the_same",
    ),
    Bug(
        9,
        "claim by IN (SELECT .. LIMIT .. SKIP LOCKED)",
        "PostgreSQL BUG #15715",
        mistakes.claim_in_subselect,
        f"{_FENCING}f1_a_claim_takes_no_more_than_it_asked_for",
    ),
    Bug(
        10,
        "cron without a unique tick",
        "rails/solid_queue e43f204",
        mistakes.cron_without_unique_tick,
        f"{_FENCING}f23_two_schedulers_make_a_tick_once",
    ),
    Bug(
        11,
        "reclaim refused by the limit",
        "pgqueuer#475",
        mistakes.reclaim_refused_by_the_limit,
        f"{_FENCING}f25_a_lost_job_gives_its_place_under_the_limit_back",
    ),
    Bug(
        12,
        "unique job in its own way on retry",
        "River 0.12.0",
        mistakes.unique_job_in_its_own_way,
        f"{_FENCING}f24_a_job_with_a_unique_key_is_retried",
    ),
    Bug(
        13,
        "listener not subscribed again",
        "good_job#303",
        mistakes.listener_not_subscribed_again,
        "test_connections.py::test_f7_a_listener_that_was_cut_off_listens_again",
    ),
    Bug(
        14,
        "outcome dropped, lease renewed",
        "rails/solid_queue#748",
        mistakes.outcome_dropped_after_a_failed_write,
        "test_connections.py::test_f7_an_outcome_that_could_not_be_stored_is_stored_later",
    ),
    Bug(
        15,
        "a forked child goes on with its parent's connections",
        "jobplane, before its first release",
        mistakes_of_processes.children_go_on_with_the_parents_connections,
        "test_forks.py::test_forked_children_are_answered_with_their_own_jobs",
    ),
    Bug(
        22,
        "the rescue gives an attempt back",
        "jobplane, before its first release",
        mistakes.rescue_gives_an_attempt_back,
        f"{_FENCING}f19_a_job_whose_workers_die_runs_out_of_attempts",
    ),
    Bug(
        16,
        "one task for all jobs of a slot",
        "jobplane, before its first release",
        mistakes_of_workers.one_task_for_all_jobs,
        "test_handlers.py::test_a_late_cancellation_reaches_no_other_job",
    ),
    Bug(
        17,
        "completed before its work was done",
        "jobplane, before its first release",
        mistakes_of_workers.result_taken_for_the_end,
        "test_handlers.py::test_no_job_is_completed_before_its_work_is_done",
    ),
    Bug(
        21,
        "the next attempt beside the thread of the last",
        "jobplane, before its first release",
        mistakes_of_workers.thread_left_alone,
        "test_handlers.py::test_no_attempt_begins_beside_a_thread_of_the_last",
    ),
    Bug(
        20,
        "the fence starts again at 0 for an id that comes back",
        "jobplane before migration 015",
        mistakes.fence_starts_again,
        "test_reborn.py::test_f35_a_claim_of_an_ids_first_life_does_not_end_that_of_its_second",
    ),
    Bug(
        23,
        "sessions take the database's isolation level",
        "jobplane, before its first release",
        mistakes_of_sessions.sessions_take_the_databases_isolation,
        "test_isolation.py::test_a_limit_holds_whatever_the_databases_isolation_level_is",
    ),
    Bug(
        18,
        "arguments that come out changed are taken",
        "jobplane, before its first release",
        mistakes_of_clients.arguments_are_not_compared,
        "test_lost_answers.py::test_a_value_that_would_arrive_as_another_is_refused",
    ),
    Bug(
        19,
        "a change is sent again after a lost answer",
        "jobplane, before its first release",
        mistakes_of_clients.changes_are_sent_again,
        "test_lost_answers.py::test_a_retry_whose_answer_is_lost_is_done_once",
    ),
)
BUGS: Final = {str(bug.number): bug for bug in _ALL}
