"""F29: any history of verbs leaves the rows of a plain model (I1, I2, I5, I6, I8-I15, I18, I20).

The short profile runs 200 histories of 50 steps; JOBPLANE_FAULTS_PROFILE=long runs 10,000 of 80.
A failure prints the shortest history that fails; `--hypothesis-seed=N` repeats a whole run.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.models.ground import Loop, Session
from tests.models.machine import QueueMachine
from tests.support import LONG

HISTORIES, STEPS = (10_000, 80) if LONG else (200, 50)


@pytest.mark.timeout(7200 if LONG else 600)
def test_the_database_equals_the_model_after_every_step(ground_url: str, loop: Loop) -> None:
    session = loop(Session.open(ground_url))

    run_state_machine_as_test(
        lambda: QueueMachine(session, loop),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

    loop(session.connection.close())
