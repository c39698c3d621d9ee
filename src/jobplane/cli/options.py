"""The options that several commands share, and how they become settings."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Annotated, TypeAlias, cast

import typer
from typer.models import OptionInfo

from jobplane.errors import ConfigurationError
from jobplane.redaction import holds_password
from jobplane.settings import DatabaseSettings, WorkerSettings, resolve


def _warned(url: str | None) -> str | None:
    # Before anything else, and on stderr: stdout is the answer, and may be read by a program.
    if url is not None and holds_password(url):
        typer.echo(
            "warning: --database-url holds a password, which every user of this machine can read in the list of "
            "processes: give it in DATABASE_URL, or leave it to PGPASSWORD or a .pgpass file",
            err=True,
        )
    return url


DatabaseURL: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Where PostgreSQL is; default: DATABASE_URL, else AUDIT_LOGS_DB_HOST and its siblings. Without a "
        "password, which everyone on the machine could read in the list of processes.",
        callback=_warned,
        show_default=False,
    ),
]
Schema: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help="The schema of jobplane's tables; default: JOBPLANE_SCHEMA, else control_plane.",
        show_default=False,
    ),
]
AsJSON: TypeAlias = Annotated[
    bool, typer.Option("--json", help="One JSON document instead of text for people.")
]


def database_settings(url: str | None, schema: str | None) -> DatabaseSettings:
    """The options, under them the environment. Raises ConfigurationError."""
    return resolve(DatabaseSettings, os.environ, **given(url=url, schema=schema)).settings


def required_database(url: str | None, schema: str | None) -> DatabaseSettings:
    """As `database_settings`. Raises ConfigurationError when nothing says where the database is."""
    return must_be_given(database_settings(url, schema))


def must_be_given(settings: DatabaseSettings) -> DatabaseSettings:
    """Settings that name a database. Raises ConfigurationError."""
    if not settings.is_given:
        raise ConfigurationError(
            "no database is named: set DATABASE_URL or give --database-url; jobplane doctor shows what is in effect"
        )
    return settings


def under_options(settings: DatabaseSettings, url: str | None, schema: str | None) -> DatabaseSettings:
    """Settings from somewhere else, with the options that were given in their place."""
    settings = settings if url is None else replace(settings, url=url)
    return settings if schema is None else replace(settings, schema=schema)


def given(**options: str | None) -> dict[str, str]:
    """The options that were really given, so that the environment decides about the others."""
    return {name: value for name, value in options.items() if value is not None}


def worker_option(name: str) -> OptionInfo:
    """The option for one of WorkerSettings, in the words of settings.py."""
    item = next(item for item in fields(WorkerSettings) if item.name == name)
    variables = ", ".join(item.metadata["env"])
    unit = "SECONDS" if "timedelta" in str(item.type) else "NUMBER" if str(item.type) == "int" else "TEXT"
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=unit,
        help=f"{item.metadata['sentence']} Else {variables}, else {_shown(item.default)}.",
        show_default=False,
        rich_help_panel="Settings",
    )
    return cast("OptionInfo", option)


def _shown(default: object) -> str:
    seconds = getattr(default, "total_seconds", None)
    return f"{seconds():g}" if callable(seconds) else str(default)
