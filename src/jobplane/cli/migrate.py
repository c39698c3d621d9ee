"""`jobplane migrate`: bring the database to a version of the schema, or hand the SQL to another tool."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jobplane.cli import export
from jobplane.cli.failures import expected_errors, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, database_settings, required_database
from jobplane.cli.output import print_json, print_table
from jobplane.cli.present import moment, timestamp
from jobplane.errors import ConfigurationError, JobplaneError
from jobplane.store.migrator import Migration, MigrationStatus, Migrator, migrations

migrate = typer.Typer(help="Create and change jobplane's tables.", no_args_is_help=True)


@migrate.command()
def up(
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", help="Stop after version N; default: the newest.", show_default=False
        ),
    ] = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Apply what is missing. Safe to run from several places at once, and while workers run."""

    async def command() -> list[Migration]:
        bound = None if to is None else _known(to)
        return await Migrator(required_database(database_url, schema)).up(bound)

    done = run_async(command())
    for migration in done:
        typer.echo(f"applied {_label(migration)}")
    if not done:
        typer.echo(
            "nothing to do: the schema is current" if to is None else f"nothing to do up to version {to}"
        )


@migrate.command()
def down(
    to: Annotated[
        int, typer.Option("--to", metavar="N", help="Undo everything above version N; 0 undoes all.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Undo migrations, newest first. Below version 3 this deletes all jobs."""

    async def plan() -> list[MigrationStatus]:
        bound = _known(to)
        steps = await Migrator(required_database(database_url, schema)).status()
        return [step for step in steps if step.applied_at and step.version > bound]

    async def command() -> list[Migration]:
        return await Migrator(required_database(database_url, schema)).down(to)

    steps = run_async(plan())
    if not steps:
        typer.echo(f"nothing to do: no migration above version {to} is applied")
        return
    if not yes:
        _ask(steps, to)
    for migration in run_async(command()):
        typer.echo(f"undone {_label(migration)}")


@migrate.command()
def status(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show each migration and when it was applied."""

    async def command() -> list[MigrationStatus]:
        return await Migrator(required_database(database_url, schema)).status()

    steps = run_async(command())
    if as_json:
        document = [
            {"version": step.version, "name": step.name, "applied_at": timestamp(step.applied_at)}
            for step in steps
        ]
        print_json({"migrations": document, "missing": sum(step.applied_at is None for step in steps)})
        return
    rows = [(f"{step.version:03}_{step.name}", moment(step.applied_at) or "missing") for step in steps]
    print_table(("migration", "applied"), rows, "there are no migrations")
    if any(step.applied_at is None for step in steps):
        typer.echo("run jobplane migrate up to apply what is missing", err=True)


@migrate.command()
def sql(
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="N",
            help="Versions up to N; with --down, those above N. Default: all.",
            show_default=False,
        ),
    ] = None,
    *,
    down: Annotated[bool, typer.Option("--down", help="The way back; plain format only.")] = False,
    form: Annotated[
        export.Format,
        typer.Option(
            "--format", help="plain prints a script for psql; the others write files for that tool."
        ),
    ] = export.Format.PLAIN,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Where the files go; needed by all but plain.", show_default=False
        ),
    ] = None,
    schema: Schema = None,
) -> None:
    """Print the migrations as SQL, or write them as files for another migration tool. Needs no database."""
    with expected_errors():
        name = database_settings(None, schema).schema
        if form is export.Format.PLAIN:
            if output is not None:
                raise ConfigurationError(
                    "the plain format is printed: redirect it, or choose another --format"
                )
            bound = _known(to) if to is not None else 0 if down else _newest()
            sys.stdout.write(export.script(name, bound, down=down))
            return
        if output is None:
            raise ConfigurationError(f"--format {form} writes files: say where with --output DIR")
        if down:
            raise ConfigurationError(f"--down is for the plain format: {form} files hold both directions")
        written = _write(output, export.files(form, name, _newest() if to is None else _known(to)))
        for path in written:
            typer.echo(path)
        if not written:
            typer.echo("nothing to do: the files are there already", err=True)


def _newest() -> int:
    return migrations()[-1].version


def _known(version: int) -> int:
    newest = _newest()
    if not 0 <= version <= newest:
        raise ConfigurationError(f"--to must be a version from 0 to {newest}; got {version}")
    return version


def _label(migration: Migration) -> str:
    return f"{migration.version:03}_{migration.name}"


def _ask(steps: list[MigrationStatus], to: int) -> None:
    with expected_errors():
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "migrate down asks before it undoes anything: answer with --yes in scripts"
            )
    typer.echo(
        f"This undoes {len(steps)} migrations: " + ", ".join(f"{step.version:03}" for step in reversed(steps))
    )
    if to < 3:
        typer.echo("It DELETES ALL JOBS.")
    if not typer.confirm("Go on?"):
        raise typer.Exit(1)


def _write(folder: Path, files: list[export.File]) -> list[Path]:
    # All or nothing, and never over something that was edited: a migration that ran elsewhere must not change.
    changed = [
        file.name
        for file in files
        if (folder / file.name).exists() and (folder / file.name).read_text(encoding="utf-8") != file.text
    ]
    if changed:
        raise JobplaneError(
            f"{folder} has other files of these names: {', '.join(changed)}. Move them away, or choose another --output"
        )
    missing = [file for file in files if not (folder / file.name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in missing:
            (folder / file.name).write_text(file.text, encoding="utf-8")
    except OSError as error:
        raise JobplaneError(f"{folder} cannot be written to: {error.strerror}") from error
    return [folder / file.name for file in missing]
