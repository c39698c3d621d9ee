"""`python -m tests.faults.bite` (`make bugs`): shows that the suite turns red with each of the planted bugs.

Runs the scenarios that catch them, first as they are, then each with its bug. Prints one line for each bug: its
number, the mistake, who made it, the promises that were seen broken, and how long that took. Ends with 1 when a
scenario is red without a bug, or green with one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobplane.embedded import EmbeddedServer
from tests.faults.bugs import BUGS, Bug

HERE: Final = Path(__file__).parent
_BROKEN: Final = re.compile(r"^E\s+(I\d+): ", re.MULTILINE)
_ASSERTED: Final = re.compile(r"^E\s+AssertionError: .*?\b(I\d+)\b", re.MULTILINE)
"""What the checker says is broken, and what the scenario's own assertion says."""


def main() -> int:
    """Show each bug; 0 when all are caught."""
    with _server() as environment:
        scenarios = sorted({bug.caught_by for bug in BUGS.values()})
        green = _pytest(scenarios, environment)
        if green.returncode != 0:
            print(green.stdout[-5000:], "a scenario is red without a bug", sep="\n", file=sys.stderr)  # noqa: T201
            return 1
        missed = [bug for bug in BUGS.values() if not _is_caught(bug, environment)]
    return 1 if missed else 0


def _is_caught(bug: Bug, environment: Mapping[str, str]) -> bool:
    began = time.monotonic()
    run = _pytest([bug.caught_by], {**environment, "JOBPLANE_TEST_BUG": str(bug.number)})
    broken = list(dict.fromkeys(_ASSERTED.findall(run.stdout) + _BROKEN.findall(run.stdout)))
    # 1 is pytest's word for a test that failed: neither an error of its own nor nothing to run.
    caught = run.returncode == 1 and bool(broken)
    told = f"caught: {', '.join(broken)} broken" if caught else "NOT CAUGHT"
    print(f"{bug.number:2} {bug.what} ({bug.where}): {told}, {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
    if not caught:
        print(run.stdout[-5000:], file=sys.stderr)  # noqa: T201
    return caught


def _pytest(scenarios: Iterable[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", *(str(HERE / scenario) for scenario in scenarios)]
    return subprocess.run(
        command,
        cwd=HERE.parent.parent,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        check=False,
    )


@contextmanager
def _server() -> Iterator[Mapping[str, str]]:
    """One server for all of them, unless DATABASE_URL names one."""
    if os.environ.get("DATABASE_URL"):
        yield {}
        return
    bin_dir = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    with tempfile.TemporaryDirectory(prefix="jobplane-bite-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = {"max_connections": "200"}
        with EmbeddedServer(
            Path(folder) / "data", bin_dir=Path(bin_dir) if bin_dir else None, settings=settings
        ) as server:
            yield {"DATABASE_URL": server.url()}


if __name__ == "__main__":
    sys.exit(main())
