"""How one run goes: a fresh database, prepared by the system itself, then the adapter in processes of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Self

import asyncpg

from bench.adapters.ground import GROUNDS
from bench.harness.figures import Result, number
from bench.harness.nuisance import disturbed
from bench.harness.phases import BESIDE_ROWS, Phase
from bench.harness.sampler import peak_memory, processor_seconds
from bench.harness.server import database_name
from bench.harness.systems import BENCH, System
from jobplane.embedded import EmbeddedServer

LIMIT = 900.0  # seconds for one step of an adapter
SETTLING = 60.0  # seconds for the last completions
LEAVING = 3.0  # seconds for an adapter to end by itself


class AdapterError(Exception):
    """An adapter failed."""


class Bench:
    """One server, and the prepared databases that several rounds start from."""

    def __init__(self, server: EmbeddedServer, scale: float) -> None:
        self._server = server
        self._scale = scale
        self._templates: dict[tuple[str, str], str] = {}

    def run(self, phase: Phase, system: System) -> Result:
        """Run a phase once, in a database of its own. Raises AdapterError when the adapter fails."""
        if reason := dict(system.absent).get(phase.name):
            return Result(skipped=reason)
        if phase.ours and system.runtime != "ours":
            return Result(skipped="not measured")
        try:
            return asyncio.run(asyncio.wait_for(self._run(phase, system), 2 * LIMIT))
        except TimeoutError:
            return Result(skipped=f"no end after {2 * LIMIT:.0f} s")

    def forget_templates(self) -> None:
        """Drop the prepared databases."""
        for name in self._templates.values():
            asyncio.run(self._administer(f'DROP DATABASE "{name}" WITH (FORCE)'))
        self._templates.clear()

    async def _run(self, phase: Phase, system: System) -> Result:
        name = database_name()
        if phase.beside:
            template = await self._template(phase, system)
            await self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        else:
            await self._create(name, phase, system)
        try:
            observer = await asyncpg.connect(self._server.url(name))
            try:
                await observer.execute(
                    "SET max_parallel_workers_per_gather = 0"
                )  # its work is ours, see Sample
                await observer.execute("CHECKPOINT")
                async with disturbed(phase.nuisance, self._server.url(name)):
                    return await self._measure(phase, system, self._server.url(name), observer)
            finally:
                await observer.close()
        finally:
            await self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _template(self, phase: Phase, system: System) -> str:
        key = (phase.name, system.name)
        if key not in self._templates:
            name = database_name()
            await self._create(name, phase, system)
            self._templates[key] = name
        return self._templates[key]

    async def _create(self, name: str, phase: Phase, system: System) -> None:
        await self._administer(f'CREATE DATABASE "{name}"')
        url = self._server.url(name)
        jobs = phase.size(self._scale, system.share)
        beside = max(int(BESIDE_ROWS * self._scale), 10)
        for verb, rows in (("schema", jobs), (phase.beside, beside), (phase.loaded, jobs)):
            if not verb:
                continue
            if system.runtime == "ours":
                await GROUNDS[verb](url, rows)
                continue
            async with Adapter.started(system, verb, url, rows) as adapter:
                while "prepared" not in (line := await adapter.line()):
                    if "skipped" in line:
                        raise AdapterError(f"{system.name} {line['skipped']}")
        if phase.loaded:
            await self._administer("VACUUM ANALYZE", url)

    async def _measure(
        self, phase: Phase, system: System, url: str, observer: asyncpg.Connection[asyncpg.Record]
    ) -> Result:
        jobs = phase.size(self._scale, system.share)
        async with Adapter.team(system, phase, url, jobs) as team:
            lines = [await adapter.line() for adapter in team]
            if skipped := [str(line["skipped"]) for line in lines if "skipped" in line]:
                return Result(skipped=skipped[0])
            before = await Sample.take(self._server, team, observer)
            for adapter in team:
                adapter.say("go")
            figures: dict[str, object] = {}
            if phase.loaded:
                await _all_done(team, jobs)
                end = await _nothing_left(system, jobs, observer)
                figures["rate"] = jobs / (end - before.at)
            else:
                figures = await team[0].line()
                if "skipped" in figures:
                    return Result(skipped=str(figures["skipped"]))
            after = await Sample.take(self._server, team, observer)
            for adapter in team:
                adapter.say("stop")
            return Result(
                rate=number(figures, "rate"),
                p50=number(figures, "p50"),
                p99=number(figures, "p99"),
                cpu=number(figures, "cpu") or (after.workers - before.workers) / jobs * 1e6,
                db=(after.server - before.server) / jobs * 1e6,
                wal=(after.wal - before.wal) / jobs,
                memory=after.memory,
                growth=number(figures, "growth"),
            )

    async def _administer(self, statement: str, url: str | None = None) -> None:
        connection = await asyncpg.connect(url or self._server.url())
        try:
            await connection.execute(statement, timeout=LIMIT)
        finally:
            await connection.close()


class Adapter:
    """One process of an adapter, and the lines between it and us."""

    def __init__(
        self, system: System, verb: str, process: asyncio.subprocess.Process, errors: IO[bytes]
    ) -> None:
        self._label = f"{system.name} {verb}"
        self._process = process
        self._errors = errors
        self.pid = process.pid

    @classmethod
    @asynccontextmanager
    async def started(cls, system: System, verb: str, url: str, jobs: int) -> AsyncIterator[Self]:
        """Start it; end it when the block ends."""
        pipe = asyncio.subprocess.PIPE
        with tempfile.TemporaryFile() as errors:
            process = await asyncio.create_subprocess_exec(
                *system.command(verb, url, jobs), cwd=BENCH.parent, stdin=pipe, stdout=pipe, stderr=errors
            )
            try:
                yield cls(system, verb, process, errors)
                if process.stdin:
                    process.stdin.close()
                await asyncio.wait_for(process.wait(), LEAVING)
            except TimeoutError:
                pass  # what it was asked for is done
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    @classmethod
    @asynccontextmanager
    async def team(cls, system: System, phase: Phase, url: str, jobs: int) -> AsyncIterator[list[Self]]:
        """As many of them as the phase has."""
        if phase.processes == 1:
            async with cls.started(system, phase.verb, url, jobs) as one:
                yield [one]
        else:
            async with (
                cls.started(system, phase.verb, url, jobs) as one,
                cls.started(system, phase.verb, url, jobs) as other,
            ):
                yield [one, other]

    async def line(self) -> dict[str, object]:
        """The next line that it says; what is not JSON is its own talk. Raises AdapterError when it ends instead."""
        assert self._process.stdout
        while text := await asyncio.wait_for(self._process.stdout.readline(), LIMIT):
            if text.startswith(b"{"):
                line: dict[str, object] = json.loads(text)
                return line
        self._errors.seek(0)
        raise AdapterError(f"{self._label} failed:\n{self._errors.read().decode(errors='replace')[-4000:]}")

    def say(self, word: str) -> None:
        """A line to it."""
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n".encode())


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the clocks stood: seconds of time and of processor time, bytes of write-ahead log, MB."""

    at: float
    server: float
    workers: float
    wal: int
    memory: float

    @classmethod
    async def take(
        cls, server: EmbeddedServer, team: Sequence[Adapter], observer: asyncpg.Connection[asyncpg.Record]
    ) -> Sample:
        """Now. What we ask the server for ourselves does not count."""
        wal = await observer.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
        pids = [adapter.pid for adapter in team]
        return cls(
            server=processor_seconds([server.postmaster_pid], without=observer.get_server_pid()),
            workers=processor_seconds(pids),
            wal=int(wal),
            memory=max(map(peak_memory, pids)),
            at=time.perf_counter(),
        )


async def _all_done(team: Sequence[Adapter], jobs: int) -> None:
    done = [0] * len(team)
    complete = asyncio.Event()

    async def follow(place: int, adapter: Adapter) -> None:
        while not complete.is_set():
            done[place] = int(number(await adapter.line(), "done"))
            if sum(done) >= jobs:
                complete.set()

    followers = [asyncio.create_task(follow(place, adapter)) for place, adapter in enumerate(team)]
    waiting = asyncio.create_task(complete.wait())
    try:
        await asyncio.wait([*followers, waiting], return_when=asyncio.FIRST_COMPLETED)
        for follower in followers:
            if follower.done():
                follower.result()  # raises what went wrong
    finally:
        for task in (*followers, waiting):
            task.cancel()
        await asyncio.gather(*followers, waiting, return_exceptions=True)


async def _nothing_left(system: System, jobs: int, observer: asyncpg.Connection[asyncpg.Record]) -> float:
    """The time from which on every completion was committed."""
    query = system.unfinished
    arguments = [jobs] if query and "$1" in query else []
    end = time.perf_counter() + SETTLING
    while (now := time.perf_counter()) < end:
        if query is None or not await observer.fetchval(query, *arguments):
            return now
        await asyncio.sleep(0.005)
    raise AdapterError(f"{system.name} ran {jobs} jobs, but left some unfinished")
