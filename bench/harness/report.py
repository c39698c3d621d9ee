"""Figures for people, and the ratio lines for programs."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import asyncpg

from bench.harness.figures import Result, middle, ratios
from bench.harness.phases import Phase
from bench.harness.systems import BENCH
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


def configuration(server: EmbeddedServer) -> str:
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
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL: {settings}"


def print_table(phases: Sequence[Phase], results: Results) -> None:
    """Medians, one line for each phase and adapter."""
    print()
    for phase in phases:
        print(f"{phase.name}: {phase.sentence}")
        for adapter, runs in results[phase.name].items():
            print(f"  {adapter:<9} {middle(runs, phase.unit).shown(phase.unit)}")


def over_raw(phases: Sequence[Phase], results: Results) -> dict[str, float]:
    """By phase, ours over raw: more is better, also for latencies, where it is raw over ours."""
    found = {}
    for phase in phases:
        raw, ours = results[phase.name].get("raw"), results[phase.name].get("jobplane")
        if raw and ours and (measured := ratios(ours, raw, phase.unit)):
            found[phase.name] = median(measured)
    return found


def print_ratios(found: Mapping[str, float]) -> None:
    """`ratio <phase> <ours over raw>`."""
    print()
    for phase, ratio in found.items():
        print(f"ratio {phase} {ratio:.2f}")


def missed(found: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """What is below its floor, in words. A ratio that was not taken is below any."""
    return [
        f"{phase} reached {found.get(phase, 0.0):.2f} of raw, and must reach {floor:g}"
        for phase, floor in floors.items()
        if found.get(phase, 0.0) < floor
    ]


def write_json(
    folder: Path, settings: str, versions: Mapping[str, str], scale: float, results: Results
) -> Path:
    """Every run of every phase, for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    found = {
        "date": now.isoformat(timespec="seconds"),
        "configuration": settings,
        "versions": versions,
        "scale": scale,
        "phases": {
            phase: {adapter: [asdict(run) for run in runs] for adapter, runs in adapters.items()}
            for phase, adapters in results.items()
        },
    }
    path = folder / f"{now:%Y-%m-%d-%H%M%S}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


RESULTS = BENCH / "results"
