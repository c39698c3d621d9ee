"""What a flood of notifications, by a role that may do nothing but connect, does to a worker.

    python -m bench.micro.notify_flood [seconds]

One worker process, one flooder, one client that enqueues a job every 50 ms. For each kind of word: how many arrived
at a bystander, the time from enqueue to start by the database's clock, and the share of a core that the worker took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from jobplane import DatabaseSettings, JobQueue
from jobplane.embedded import EmbeddedServer
from jobplane.sql import channel
from jobplane.store.migrator import Migrator

EVERY = 0.05
WORDS: dict[str, tuple[str | None, float]] = {
    "calm": (None, 0),
    "text": ("md5(random()::text)", 0),
    "cancel:<unknown>": ("'cancel:' || gen_random_uuid()", 0),
    "cancel:<held>": ("'cancel:{held}'", 0),
    "<queue>": ("'default'", 0),
    "limit:<queue>": ("'limit:default'", 0),
    "cancel:<held>, slower": ("'cancel:{held}'", 0.0005),
    "limit:<queue>, slower": ("'limit:default'", 0.0005),
}
"""SQL for one word, and seconds between two statements. PostgreSQL sends equal words of one transaction once, so those
are sent in many. The slower ones stay below what makes a worker stop listening."""

queue = JobQueue()


@queue.task
async def work() -> None:
    """Do nothing."""


@queue.task
async def hold() -> None:
    """Be held, to be named in words."""
    await asyncio.Event().wait()


async def flood(url: str, word: str, pause: float) -> None:
    """Notify without end."""
    connection = await asyncpg.connect(url)
    distinct = "(" in word
    statement = f"SELECT count(pg_notify($1, {word})) FROM generate_series(1, {2000 if distinct else 1})"
    while True:
        await connection.fetchval(statement, channel("control_plane"))
        if pause:
            await asyncio.sleep(pause)


async def measure(
    url: str, kind: str, word: str | None, pause: float, seconds: float, pid: int, stranger: str
) -> None:
    """One line of the table."""
    heard = 0

    def count(*_: object) -> None:
        nonlocal heard
        heard += 1

    bystander = await asyncpg.connect(url)
    async with JobQueue(url) as client:
        held = (await client.enqueue("hold")).id
        while await _status(client, held) != "running":  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0.05)
        environment = {
            **os.environ,
            "FLOOD_URL": stranger,
            "FLOOD_WORD": (word or "").format(held=held),
            "FLOOD_PAUSE": str(pause),
        }
        command = [sys.executable, "-m", "bench.micro.notify_flood", "flood"]
        flooder = await asyncio.create_subprocess_exec(*command, env=environment) if word else None
        await bystander.add_listener(channel("control_plane"), count)
        await asyncio.sleep(2)
        began, used, heard_before = time.monotonic(), _seconds_of(pid), heard
        made = []
        while time.monotonic() < began + seconds:
            made.append((await client.enqueue("work")).id)
            await asyncio.sleep(EVERY)
        took = time.monotonic() - began
        share, rate = (_seconds_of(pid) - used) / took, (heard - heard_before) / took
        if flooder is not None:
            flooder.kill()
            await flooder.wait()
        await bystander.close()
        await asyncio.gather(*(client.wait(job_id, 60) for job_id in made))
        status = await _status(client, held)
        await client.cancel(held)
    reader = await asyncpg.connect(url)
    rows = await reader.fetch(
        "SELECT extract(epoch FROM started_at - created_at)::float8 FROM control_plane.jobs WHERE id = ANY ($1::uuid[])",
        made,
    )
    await reader.close()
    latencies = [row[0] * 1000 for row in rows]
    print(
        f"{kind:21} {rate:9.0f} words/s  p50 {median(latencies):7.1f} ms  p95 {quantiles(latencies, n=20)[18]:7.1f} ms"
        f"  worker {share:5.2f} of a core  held job {status}",
        flush=True,
    )


async def _status(client: JobQueue, job_id: UUID) -> str:
    job = await client.get_job(job_id)
    return "gone" if job is None else str(job.status)


def _seconds_of(pid: int) -> float:
    """Processor seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(folder: Path, seconds: float) -> None:
    """All kinds, one after the other, beside the same worker."""
    with EmbeddedServer(folder) as server:
        url = server.url()
        await Migrator(DatabaseSettings(url=url)).up()
        admin = await asyncpg.connect(url)
        await admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        await admin.close()
        parts = urlsplit(url)
        stranger = urlunsplit(parts._replace(netloc=f"stranger:stranger@{parts.hostname}:{parts.port}"))
        command = (
            sys.executable,
            "-m",
            "jobplane",
            "worker",
            "bench.micro.notify_flood",
            "--log-level",
            "warning",
        )
        worker = await asyncio.create_subprocess_exec(*command, env={**os.environ, "DATABASE_URL": url})
        try:
            for kind, (word, pause) in WORDS.items():
                await measure(url, kind, word, pause, seconds, worker.pid, stranger)
                await asyncio.sleep(15)  # until the worker listens again
        finally:
            worker.terminate()
            await worker.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["flood"]:
        asyncio.run(
            flood(os.environ["FLOOD_URL"], os.environ["FLOOD_WORD"], float(os.environ["FLOOD_PAUSE"]))
        )
    else:
        place = Path(tempfile.mkdtemp())
        place.chmod(0o755)
        asyncio.run(main(place / "data", float(sys.argv[1]) if sys.argv[1:] else 10.0))
