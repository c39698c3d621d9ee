"""What is broken, and which tests should notice: the quick ones first, since the first failure ends a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.mutants import mutate_python, mutate_sql
from tests.mutants.mutant import Mutant

SOURCE: Final = Path(__file__).parents[2] / "src/jobplane"
MODELS: Final = ("tests/models/test_state_machine.py", "tests/models/test_interleavings.py")
STATEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "job/claim": ("tests/store/test_claim.py", *MODELS),
    "job/complete": ("tests/store/test_finish.py", *MODELS),
    "job/complete_epoch": ("tests/store/test_finish.py", *MODELS),
    "job/finish": ("tests/store/test_finish.py", *MODELS),
    "job/rescue": ("tests/store/test_rescue.py", *MODELS),
    "job/isolate": ("tests/store/test_rescue.py", *MODELS),
    "job/renew": ("tests/store/test_renew.py", *MODELS),
    "job/cancel": ("tests/store/test_admin.py", "tests/client/test_changing.py", *MODELS),
    "job/retry": ("tests/store/test_admin.py", "tests/client/test_changing.py", *MODELS),
}
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "jobplane.job": ("tests/unit/test_job.py", "tests/unit/test_task.py", "tests/client/test_enqueue.py"),
    "jobplane.outcome": ("tests/unit/test_outcome.py", "tests/unit/test_executor.py"),
    "jobplane.retry": ("tests/unit/test_retry.py",),
    **dict.fromkeys(
        ("jobplane.worker.classify", "jobplane.worker.executor"),
        (
            "tests/unit/test_executor.py",
            "tests/unit/test_executor_stops.py",
            "tests/unit/test_executor_running.py",
        ),
    ),
    "jobplane.worker.slots": ("tests/worker/test_slots.py", "tests/unit/test_executor.py"),
}
TESTS: Final = {**STATEMENTS, **MODULES}


def mutants_of(target: str) -> Iterator[Mutant]:
    """All mutants of a statement or module."""
    if target in STATEMENTS:
        yield from mutate_sql.mutants_of(target, (SOURCE / f"sql/{target}.sql").read_text())
    else:
        path = SOURCE.parent / f"{target.replace('.', '/')}.py"
        yield from mutate_python.mutants_of(target, path.read_text())
