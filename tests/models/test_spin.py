"""F31: spin walks every state of the small model (I5, I6, I8, I10; I7 without figures), and finds each broken rule."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

MODEL: Final = Path(__file__).with_name("queue.pml")
PAGE: Final = Path(__file__).parents[2] / "docs/design/formal_model.md"
SAFETY: Final = ("-O2", "-w", "-DSAFETY", "-DMEMLIM=4000")
LIVENESS: Final = ("-O2", "-w", "-DNFAIR=4", "-DMEMLIM=4000")
FOUND_SOON: Final = ("-O0", "-w", "-DSAFETY", "-DMEMLIM=4000")
"""Where an error ends the walk early, compiling with optimisation takes longer than it saves."""
BROKEN: Final = {
    "COMPLETE_WITHOUT_EPOCH": r"hand\[w\].token\[0\].number==job\[0\].claims",
    "HEARTBEAT_BY_ID": r"hand\[w\].token\[0\].number==job\[0\].claims",
    "EPOCH_FROM_ATTEMPTS": r"hand\[w\].token\[0\].number==job\[0\].claims",
    "RESCUE_BY_ID": r"job\[0\].expired",
    "ATTEMPT_AT_FINISH": r"job\[0\].spent<=job\[0\].max_attempts",
    "RESCUE_GIVES_BACK": r"job\[0\].spent<=job\[0\].max_attempts",
    "TERMINAL_NOT_FINAL": r"job\[0\].status",
}
"""Each broken rule, and the promise that spin must see broken: the text of the model's assertion."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def spin() -> None:
    """Spin and a C compiler; installed where that is possible."""
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=False, capture_output=True)
        missing = [program for program in missing if shutil.which(program) is None]
    if missing:
        pytest.skip(
            f"THE FORMAL MODEL WAS NOT CHECKED: {' and '.join(missing)} missing (Debian: apt-get install spin gcc)"
        )


def test_no_state_of_two_workers_and_two_jobs_breaks_a_promise(tmp_path: Path) -> None:
    report = verify(tmp_path, [], SAFETY, "-w25")

    assert "errors: 0" in report
    assert f"{states(report):,} states" in PAGE.read_text()


def test_a_claim_that_nobody_remembers_is_taken_back_at_last(tmp_path: Path) -> None:
    """I7, without the figures: under weak fairness, whatever the others do meanwhile."""
    report = verify(tmp_path, ["-DRECOVERY"], LIVENESS, "-w25", "-a", "-f")

    assert "errors: 0" in report
    assert f"{states(report):,} states" in PAGE.read_text()


def test_without_a_sweeper_it_is_not(tmp_path: Path) -> None:
    report = verify(tmp_path, ["-DRECOVERY", "-DNO_SWEEPER"], LIVENESS, "-w22", "-a", "-f")

    assert "acceptance cycle" in report
    assert "errors: 1" in report


@pytest.mark.parametrize("rule", BROKEN)
def test_each_broken_rule_yields_a_counterexample(tmp_path: Path, rule: str) -> None:
    report = verify(tmp_path, [f"-D{rule}"], FOUND_SOON, "-w22")

    assert "errors: 1" in report
    assert re.search(f"assertion violated.*{BROKEN[rule]}", report), report


def verify(folder: Path, switches: list[str], compiled: tuple[str, ...], *options: str) -> str:
    """Build spin's verifier of the model and run it; its report."""
    for command in (
        ["spin", "-a", *switches, str(MODEL)],
        ["gcc", *compiled, "-o", "pan", "pan.c"],
    ):
        built = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    run = [str(folder / "pan"), "-m1000000", *options]
    report = subprocess.run(run, cwd=folder, check=True, capture_output=True, text=True).stdout
    # Out of memory or depth is no proof either.
    assert "Search not completed" not in report or "errors: 1" in report, report
    assert "max search depth too small" not in report, report
    return report


def states(report: str) -> int:
    """How many states were stored."""
    found = re.search(r"(\d+) states, stored", report)
    assert found, report
    return int(found[1])
