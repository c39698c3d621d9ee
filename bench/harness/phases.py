"""What is measured, as data, and how one run of it goes: a fresh database, then the adapter in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from bench.harness.server import database_name
from jobplane.embedded import EmbeddedServer
from jobplane.ids import new_job_id
from jobplane.settings import DatabaseSettings
from jobplane.store.migrator import Migrator

Unit = Literal["jobs/s", "ms"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing to measure.

    Attributes:
        name: the adapter's command, and the word in the ratio line.
        jobs: how many jobs at scale 1.
        preload: how many finished and waiting jobs to put there first.
        unit: jobs/s (more is better), or ms (less is better).
        sentence: what it means, for the table.
    """

    name: str
    jobs: int
    unit: Unit
    sentence: str
    preloaded: bool = False


PHASES: Final = (
    Phase("single", 1500, "jobs/s", "enqueue one by one, each durable before the next"),
    Phase("bulk", 50_000, "jobs/s", "enqueue many by COPY"),
    Phase("drain", 60_000, "jobs/s", "run no-op jobs, one worker process", preloaded=True),
    Phase("pickup", 300, "ms", "from enqueue to start at 100/s, idle worker"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One run.

    Attributes:
        rate: jobs per second, or 0 where latency is measured.
        cpu: microseconds of the adapter's processor time for each job.
        p50: milliseconds, or 0.
        p99: milliseconds, or 0.
    """

    rate: float = 0.0
    cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0

    def figure(self, unit: Unit) -> float:
        """The figure that counts."""
        return self.rate if unit == "jobs/s" else self.p50

    def shown(self, unit: Unit) -> str:
        """For people."""
        if unit == "ms":
            return f"p50 {self.p50:6.2f} ms   p99 {self.p99:6.2f} ms"
        return f"{self.rate:10,.0f} jobs/s   client {self.cpu:6.1f} us a job"


def run_phase(server: EmbeddedServer, phase: Phase, adapter: str, scale: float) -> Result:
    """Run a phase once, in a database of its own."""
    name = database_name()
    jobs = max(int(phase.jobs * scale), 10)
    asyncio.run(_administer(server.url(), f'CREATE DATABASE "{name}"'))
    url = server.url(name)
    try:
        asyncio.run(_prepare(url, jobs if phase.preloaded else 0))
        command = [sys.executable, "-m", f"bench.adapters.{adapter}", phase.name, url, str(jobs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return Result(**json.loads(done.stdout.splitlines()[-1]))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{adapter} {phase.name} failed:\n{error.stdout}{error.stderr}") from error
    finally:
        asyncio.run(_administer(server.url(), f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _prepare(url: str, waiting: int) -> None:
    await Migrator(DatabaseSettings(url=url)).up()
    connection = await asyncpg.connect(url)
    try:
        if waiting:
            # A payload of about 70 bytes, and ids in the order of time: as a client writes them.
            payload = '{"project_id": "0190b0c2-7f6e-7c3e-8a53-0123456789ab", "size": 12345678}'
            records = [(new_job_id(), "noop", payload) for _ in range(waiting)]
            columns = ("id", "type", "payload")
            await connection.copy_records_to_table(
                "jobs", schema_name="control_plane", columns=columns, records=records
            )
            await connection.execute("VACUUM ANALYZE control_plane.jobs")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
