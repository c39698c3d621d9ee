"""Command lines and real workers against the test's databases."""

from __future__ import annotations

from tests.cli.conftest import bare_cli, cli, start_worker

__all__ = ["bare_cli", "cli", "start_worker"]
