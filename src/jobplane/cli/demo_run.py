"""One run of the demo on a server that is there: enqueue, watch, prove, sum up, clean up."""

from __future__ import annotations

import asyncio
import secrets
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.text import Text

from jobplane.cli.demo_ground import OWNER, RUN_PREFIX, SIGNALS, TAG, Ground
from jobplane.cli.demo_projects import HANDLERS, Project
from jobplane.cli.demo_proof import prove
from jobplane.cli.demo_view import State, View, rows_of, view_for
from jobplane.cli.demo_worker import WorkerProcesses
from jobplane.cli.output import plain
from jobplane.client.queue import JobQueue
from jobplane.errors import JobplaneError
from jobplane.job import Job, JobStatus, JobType
from jobplane.retry import Fixed
from jobplane.store.migrator import Migrator

RETRY: Final = Fixed(timedelta(seconds=1))
"""The example itself waits five minutes before it tries again, which nobody would watch."""
LOOK: Final = 0.1
"""Seconds between two looks at the jobs."""
STANDSTILL: Final = 60.0
"""Seconds without any change after which something must be wrong."""


class StandstillError(JobplaneError):
    """Nothing moves any more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    projects: Sequence[Project]
    folder: Path
    keep: bool
    workers: int
    concurrency: int


class Interruption:
    """Signals, while inside: the first cancels the task, unless it is cleaning up already; later ones change nothing."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._held = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # until the server is stopped too
        if self.number is not None and kind in (None, asyncio.CancelledError):
            raise SystemExit(128 + self.number)

    def hold(self) -> None:
        """From here on the work must not be interrupted: it is short."""
        self._held = True

    def _take(self, number: int) -> None:
        if self.number is None and not self._held and self._task is not None:
            self._task.cancel()
        self.number = self.number or number


@dataclass(slots=True)
class Clock:
    """How long each part took."""

    began: float
    parts: dict[str, float] = field(default_factory=dict)

    def note(self, part: str) -> float:
        """A part ends now; its seconds."""
        self.parts[part] = time.monotonic() - self.began - sum(self.parts.values())
        return self.parts[part]


async def run_demo(plan: Plan, ground: Ground, out: Console, began: float) -> int:
    """The whole run; its exit code: 0 when all went as the file expects and was proven."""
    with Interruption() as interruption:
        async with ground.claimed(), JobQueue(settings=ground.server.settings) as queue:
            run = _Run(plan, ground, queue, out, Clock(began))
            finished = False
            try:
                as_expected = await run.work()
                finished = True
            except asyncio.CancelledError:
                out.print("interrupted: stopping the workers and cleaning up")
                raise
            finally:
                interruption.hold()
                await run.clean_up(keep=plan.keep and finished)
            return 0 if as_expected else 1


class _Run:
    def __init__(self, plan: Plan, ground: Ground, queue: JobQueue, out: Console, clock: Clock) -> None:
        self.name = f"{RUN_PREFIX}{secrets.token_hex(3)}"
        self._plan = plan
        self._ground = ground
        self._queue = queue
        self._out = out
        self._clock = clock
        server = ground.server
        environment = {
            "DATABASE_URL": server.url,
            "JOBPLANE_QUEUES": f"{self.name}:{plan.concurrency}",
            "CONTROL_PLANE_OWNER": OWNER,
            "JOBPLANE_DEMO_SECRETS": str(server.secrets),
        }
        self._workers = WorkerProcesses(f"{HANDLERS}:queue", plan.folder, environment, server.state)

    async def work(self) -> bool:
        """Everything up to the summary; whether all went as expected."""
        await self._prepare()
        jobs = await self._provision()
        self._clock.note("provisioning")
        proven = await self._prove(jobs)
        self._clock.note("proof")
        self._sum_up(jobs)
        expected = all(
            jobs[project.unique_key].status
            is (JobStatus.FAILED if project.expect == "failure" else JobStatus.COMPLETED)
            for project in self._plan.projects
        )
        return proven and expected

    async def clean_up(self, *, keep: bool) -> None:
        """Stop the workers; then remove everything, or say how to use what was kept."""
        await self._workers.stop()
        if keep:
            self._tell_how_to_go_on()
            return
        if swept := await self._ground.sweep():
            self._say(f"removed the databases, roles, keys and secrets of {swept} projects, and the jobs")

    # -- the parts ---------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        version = await self._ground.version()
        self._say(f"PostgreSQL {version} is ready, after {self._clock.note('server'):.1f} s")
        applied = await Migrator(self._ground.server.settings).up()
        self._say(f"{len(applied)} migrations applied" if applied else "the schema is up to date")
        await self._ground.orphans_gone()
        if swept := await self._ground.sweep():
            self._say(f"removed what an earlier demo kept or left: {swept} projects")
        self._ground.server.state.mkdir(mode=0o700, parents=True)
        await self._ground.make_tables_of(self._plan.folder)
        self._workers.start(self._plan.workers)
        pids = ", ".join(str(pid) for pid in self._workers.pids)
        self._say(f"worker process {pids}, {self._plan.concurrency} jobs at once, on queue {self.name}")
        self._clock.note("preparation")

    async def _provision(self) -> dict[str, Job]:
        for project in self._plan.projects:
            await self._queue.enqueue(
                JobType.PROVISION_PROJECT,
                project.payload,
                queue=self.name,
                unique_key=project.unique_key,
                tags=[TAG, self.name],
                retry=RETRY,
            )
        with view_for(self._out, JobType.PROVISION_PROJECT) as view:
            return await self._watch(view)

    async def _watch(self, view: View) -> dict[str, Job]:
        projects = self._plan.projects
        seen: list[tuple[State, str, str]] = []
        changed_at = time.monotonic()
        while True:
            for note in self._workers.replace_killed():
                view.note(note)
            jobs = await self._jobs()
            rows = rows_of(projects, jobs)
            view.show(rows)
            if len(jobs) == len(projects) and all(job.is_terminal for job in jobs.values()):
                return jobs
            now = [(row.state, row.attempts, row.message) for row in rows]
            if now != seen:
                seen, changed_at = now, time.monotonic()
            elif time.monotonic() - changed_at > STANDSTILL:
                raise StandstillError(
                    f"nothing has moved for {STANDSTILL:.0f} s; the end of the workers' log:\n"
                    f"{self._workers.log()[-2000:]}"
                )
            await asyncio.sleep(LOOK)

    async def _jobs(self) -> dict[str, Job]:
        found: dict[str, Job] = {}
        cursor = None
        while True:
            page = await self._queue.list_jobs(tag=self.name, limit=100, cursor=cursor)
            found |= {job.unique_key: job for job in page.jobs if job.unique_key is not None}
            if (cursor := page.next_cursor) is None:
                return found

    async def _prove(self, jobs: Mapping[str, Job]) -> bool:
        findings = await prove(self._ground, self._plan.projects, jobs, self._workers.log())
        for finding in findings:
            self._say(str(finding), style="green" if finding.ok else "bold red")
        return all(finding.ok for finding in findings)

    def _sum_up(self, jobs: Mapping[str, Job]) -> None:
        states = [row.state for row in rows_of(self._plan.projects, jobs)]
        ran = sorted(
            (job.completed_at - job.started_at).total_seconds()
            for job in jobs.values()
            if job.completed_at is not None and job.started_at is not None
        )
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._clock.parts.items())
        self._say(
            f"{states.count(State.DONE)} of {len(states)} projects provisioned, "
            f"{states.count(State.FAILED_AS_EXPECTED)} failed as their file expects, "
            f"{states.count(State.FAILED)} failed otherwise",
            style="bold",
        )
        retries = sum(max(job.attempts - 1, 0) for job in jobs.values())
        self._say(f"{retries} retries, each after {RETRY.every.total_seconds():g} s, on the jobs' own policy")
        if ran:
            self._say(f"last attempt of a job: p50 {statistics.median(ran):.2f} s, max {ran[-1]:.2f} s")
        self._say(f"{sum(self._clock.parts.values()):.1f} s in all: {parts}")

    def _tell_how_to_go_on(self) -> None:
        server = self._ground.server
        server.keep_running = True
        self._say("kept; each project's password and API key are files, named after its role:")
        self._say(f"  ls {server.secrets}")
        shown = next(
            (project for project in self._plan.projects if project.expect == "success"),
            self._plan.projects[0],
        )
        role = f"p_{shown.id.hex}"
        self._say(f'  PGPASSWORD="$(cat {server.secrets / role}.password)" psql {server.location_of(role)}')
        place = f" --data-dir {server.embedded.data_dir}" if server.embedded else ""
        self._say(f"remove it all with: jobplane demo --remove{place}")

    def _say(self, words: str, style: str = "") -> None:
        self._out.print(Text(plain(words).plain, style=style), soft_wrap=True)
