"""Figures for people, and the ratio lines for programs."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from bench.harness.phases import Phase, Result
from jobplane.embedded import EmbeddedServer

Results = Mapping[str, Mapping[str, Sequence[Result]]]
SHOWN_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
)


def print_configuration(server: EmbeddedServer) -> None:
    """Machine and server, so that a figure can be read later."""

    async def ask() -> dict[str, str]:
        connection = await asyncpg.connect(server.url())
        try:
            return {
                name: await connection.fetchval("SELECT current_setting($1)", name) for name in SHOWN_SETTINGS
            }
        finally:
            await connection.close()

    settings = ", ".join(f"{name} {value}" for name, value in asyncio.run(ask()).items())
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL: {settings}")


def print_table(phases: Sequence[Phase], results: Results) -> None:
    """Medians, one line for each phase and adapter."""
    print()
    for phase in phases:
        print(f"{phase.name}: {phase.sentence}")
        for adapter, runs in results[phase.name].items():
            middle = sorted(runs, key=lambda run: run.figure(phase.unit))[len(runs) // 2]
            print(f"  {adapter:<9} {middle.shown(phase.unit)}")


def print_ratios(
    phases: Sequence[Phase], results: Results, middle: Callable[[Sequence[float]], float]
) -> None:
    """`ratio <phase> <ours over raw>`: more is better, also for latencies, where it is raw over ours."""
    print()
    for phase in phases:
        raw, ours = results[phase.name].get("raw"), results[phase.name].get("jobplane")
        if not raw or not ours:
            continue
        pairs = [(o.figure(phase.unit), r.figure(phase.unit)) for o, r in zip(ours, raw, strict=True)]
        ratios = [o / r if phase.unit == "jobs/s" else r / o for o, r in pairs]
        print(f"ratio {phase.name} {middle(ratios):.2f}")
