"""`jobplane history`: whether each change of a job is kept, for audits and for `jobplane verify`."""

from __future__ import annotations

import sys
from datetime import datetime

import typer

from jobplane.cli.failures import run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import print_facts, print_json
from jobplane.cli.present import moment, timestamp
from jobplane.store.database import Database
from jobplane.store.history import HistoryStatus, HistoryStore

history = typer.Typer(help="Keep a history of what became of each job.", no_args_is_help=True)


@history.command()
def on(database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Keep each change of a job from now on. Safe while workers run; must be run by the owner of the tables."""

    async def command() -> datetime | None:
        kept = HistoryStore(Database(required_database(database_url, schema)))
        await kept.on()
        return await kept.since()

    since = run_async(command())
    typer.echo(f"history is kept since {moment(since)}: jobplane verify checks it")


@history.command()
def off(database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Keep no more changes; those that are there stay until their retention is over."""

    async def command() -> None:
        await HistoryStore(Database(required_database(database_url, schema))).off()

    run_async(command())
    typer.echo("history is not kept")


@history.command()
def status(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show whether a history is kept, since when, and how much there is."""

    async def command() -> HistoryStatus:
        return await HistoryStore(Database(required_database(database_url, schema))).status()

    found = run_async(command())
    if as_json:
        print_json(
            {
                "on": found.since is not None,
                "since": timestamp(found.since),
                "transitions": found.transitions,
                "first": timestamp(found.first),
                "last": timestamp(found.last),
            }
        )
        return
    print_facts(
        [
            ("kept since", moment(found.since) or "not kept"),
            ("transitions", found.transitions),
            ("first", moment(found.first)),
            ("last", moment(found.last)),
        ]
    )
    if found.since is None:
        sys.stderr.write("jobplane history on keeps it from then on\n")
