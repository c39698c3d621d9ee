"""`python -m tests.faults.worker worker ...`: the command line of jobplane, with a fault built in for tests.

JOBPLANE_TEST_FAILPOINT names the place where the process kills itself (tests/faults/failpoints.py), and
JOBPLANE_TEST_BUG a mistake that others made (tests/faults/bugs.py). The product itself knows of neither.
"""

from __future__ import annotations

import os

from jobplane.__main__ import main
from tests.faults import bugs, failpoints

if __name__ == "__main__":
    if bug := os.environ.get("JOBPLANE_TEST_BUG"):
        bugs.plant(bug)
    if failpoint := os.environ.get("JOBPLANE_TEST_FAILPOINT"):
        failpoints.install(failpoint)
    main()
