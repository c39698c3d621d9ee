"""`jobplane verify`: whether a live database holds what jobplane promises."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from jobplane.cli.failures import ExitCode, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, given, required_database, worker_option
from jobplane.cli.output import Column, print_facts, print_json, print_table
from jobplane.cli.present import moment, timestamp
from jobplane.cli.verdict import ADVICE, Verdict
from jobplane.history.check import Examiner
from jobplane.history.figures import figures_of
from jobplane.history.record import Profile
from jobplane.settings import DatabaseSettings, WorkerSettings, resolve
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore


def verify(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many violations.")] = 50,
    lease: Annotated[str | None, worker_option("lease")] = None,
    sweep_interval: Annotated[str | None, worker_option("sweep_interval")] = None,
    poll_interval: Annotated[str | None, worker_option("poll_interval")] = None,
    keep_history: Annotated[str | None, worker_option("keep_history")] = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    as_json: AsJSON = False,
) -> None:
    """Check that what the database holds is what jobplane promises. Reads only, also while workers run.

    Every job's row, and where a history is kept (jobplane history on) every transition. The settings are those of the
    workers. Exit code 0 when nothing is wrong, else 1.
    """
    explicit = given(
        lease=lease, sweep_interval=sweep_interval, poll_interval=poll_interval, keep_history=keep_history
    )

    async def command() -> Verdict:
        workers = resolve(WorkerSettings, os.environ, **explicit).settings
        return await _examine(required_database(database_url, schema), workers)

    verdict = run_async(command())
    if as_json:
        print_json(_document(verdict, limit))
    else:
        _print(verdict, limit)
    if verdict.violations:
        raise typer.Exit(ExitCode.REFUSED)


async def _examine(settings: DatabaseSettings, workers: WorkerSettings) -> Verdict:
    profile = Profile(
        lease=workers.lease,
        heartbeat_interval=workers.heartbeat_interval,
        sweep_interval=workers.sweep_interval,
        poll_interval=workers.poll_interval,
    )
    transitions = 0
    async with HistoryStore(Database(settings)).snapshot() as snapshot:
        frame = await snapshot.frame(profile, keep=workers.keep_history)
        examiner = Examiner(frame)
        async for transition in snapshot.transitions():
            examiner.take(transition)
            transitions += 1
        return Verdict(settings.schema, snapshot.since, transitions, examiner.conclude(frame))


def _document(verdict: Verdict, limit: int) -> dict[str, object]:
    history = verdict.examination.history
    return {
        "ok": not verdict.violations,
        "schema": verdict.schema,
        "at": timestamp(history.now),
        "jobs": len(history.rows),
        "history": {
            "since": timestamp(verdict.since),
            "whole": history.whole,
            "transitions": verdict.transitions,
        },
        "checked": [{"promises": list(item.promises), "says": item.says} for item in verdict.checked],
        "not_checked": [{"promises": list(item.promises), "says": item.says} for item in verdict.not_checked],
        "count": len(verdict.violations),
        "violations": [
            {
                "promise": violation.promise,
                "kind": type(violation).__name__,
                "job_id": None if violation.job_id is None else str(violation.job_id),
                "says": violation.says,
            }
            for violation in verdict.violations[:limit]
        ],
        "figures": asdict(figures_of(verdict.examination)) if verdict.since is not None else None,
    }


def _print(verdict: Verdict, limit: int) -> None:
    history = verdict.examination.history
    print_facts(
        [
            ("schema", verdict.schema),
            ("read at", moment(history.now)),
            ("jobs", len(history.rows)),
            ("history", _told(verdict)),
        ]
    )
    for heading, items in (("checked", verdict.checked), ("not checked", verdict.not_checked)):
        typer.echo()
        print_table(
            (heading, Column("", room=20, prose=True)),
            [(", ".join(item.promises), item.says) for item in items],
            f"{heading}: nothing",
        )
    typer.echo()
    if not verdict.violations:
        typer.echo("nothing is wrong")
        return
    print_table(
        ("broken", "what", Column("found", room=20, prose=True)),
        [(item.promise, type(item).__name__, item.says) for item in verdict.violations[:limit]],
        "",
    )
    if len(verdict.violations) > limit:
        typer.echo(f"and {len(verdict.violations) - limit} more: --limit shows them")
    typer.echo()
    broken = {violation.promise for violation in verdict.violations}
    print_table(
        ("promise", Column("what to do next", room=20, prose=True)),
        [(promise, advice) for promise, advice in ADVICE.items() if promise in broken],
        "",
    )


def _told(verdict: Verdict) -> str:
    if verdict.since is None:
        return "not kept"
    whole = ", of every job from its enqueue on" if verdict.examination.history.whole else ""
    return f"{verdict.transitions} transitions since {moment(verdict.since)}{whole}"
