"""The documentation is tested: its links lead somewhere, its code runs, its references match the code."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobplane.store.migrator import migrations

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_parses(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_pages_written_from_code_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "write_reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_example_of_the_readme_runs_as_it_stands(database_url: str, tmp_path: Path) -> None:
    (example,) = _blocks(ROOT / "README.md", "python")
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0, output.decode()
    assert "completed 42 lives in us" in output.decode()


def test_every_migration_says_what_it_is_for() -> None:
    silent = [migration.name for migration in migrations() if not migration.up.startswith("--")]

    assert silent == []


def test_every_statement_file_says_what_it_is_for() -> None:
    folder = ROOT / "src" / "jobplane" / "sql"

    silent = [
        str(path)
        for path in folder.rglob("*.sql")
        if "migrations" not in path.parts and not path.read_text().startswith("--")
    ]

    assert silent == []
