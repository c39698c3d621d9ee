"""The public API type-checks as users write it, and what must be an error is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.developer("mypy")
def test_mypy_finds_nothing_to_say_about_the_api_as_it_is_used() -> None:
    """Also not about a `type: ignore` that was not needed: each marks an error that is really found."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/api.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (ROOT / "tests/typing/api.py").read_text().count("# type: ignore[") >= 30


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src/jobplane/py.typed").exists()
