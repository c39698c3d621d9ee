"""`jobplane doctor`: what is in effect, where it came from, and whether it works."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final, TypeVar

import typer
from rich.text import Text

from jobplane.cli.checks import Finding, examine
from jobplane.cli.failures import ExitCode, expected_errors
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, given
from jobplane.cli.output import Column, plain, print_json, print_table
from jobplane.errors import ConfigurationError
from jobplane.redaction import masked
from jobplane.settings import DatabaseSettings, Resolved, WorkerSettings, resolve

T = TypeVar("T")
_PARTS: Final = frozenset({"host", "port", "name", "user", "password", "ssl"})
"""What a url replaces."""
_MARKS: Final = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("skipped", "dim")}


def doctor(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show the settings in effect and where each came from, then check the database.

    Exit code 0 when every check is fine, else 1.
    """
    with expected_errors():
        database, broken = _resolved(DatabaseSettings, given(url=database_url, schema=schema))
        worker, broken_too = _resolved(WorkerSettings, {})
        findings = [*broken, *broken_too]
        if database is not None:
            findings += _checked(database.settings)
    if as_json:
        print_json(
            {
                "database": _document(database),
                "worker": _document(worker),
                "checks": [
                    {"check": item.check, "ok": item.ok, "says": item.says, "advice": item.advice}
                    for item in findings
                ],
                "ok": _all_fine(findings),
            }
        )
    else:
        _print(database, worker, findings)
    if not _all_fine(findings):
        raise typer.Exit(ExitCode.REFUSED)


def _resolved(cls: type[T], explicit: Mapping[str, str]) -> tuple[Resolved[T] | None, list[Finding]]:
    try:
        return resolve(cls, os.environ, **explicit), []
    except ConfigurationError as error:
        return None, [Finding("settings", ok=False, says=str(error), advice="change or unset it")]


def _checked(settings: DatabaseSettings) -> list[Finding]:
    if not settings.is_given:
        return [
            Finding(
                "connection",
                ok=False,
                says="nothing says where the database is",
                advice="set DATABASE_URL, for example to postgresql://user:password@localhost:5432/app",
            )
        ]
    return asyncio.run(examine(settings))


def _all_fine(findings: list[Finding]) -> bool:
    return all(finding.ok for finding in findings)


def _print(
    database: Resolved[DatabaseSettings] | None,
    worker: Resolved[WorkerSettings] | None,
    findings: list[Finding],
) -> None:
    for heading, resolved in (("database", database), ("worker", worker)):
        if resolved is not None:
            # What a url replaces is worth a line only where someone set it.
            rows = [
                (item.name, item.value, item.source if item.used else f"{item.source}, but the url wins")
                for item in _effective(resolved)
                if item.used or item.source != "default"
            ]
            print_table((heading, Column("value", room=20), Column("from", room=20)), rows, "")
            typer.echo()
    rows_of_checks = [
        (Text(_MARKS[item.ok][0], style=_MARKS[item.ok][1]), item.check, plain(item.says))
        for item in findings
    ]
    print_table(("", "check", Column("found", room=20, prose=True)), rows_of_checks, "")
    advice = [(item.check, item.advice) for item in findings if item.advice]
    if advice:
        typer.echo()
        print_table(("check", Column("what to do next", room=20, prose=True)), advice, "")


def _document(
    resolved: Resolved[DatabaseSettings] | Resolved[WorkerSettings] | None,
) -> dict[str, object] | None:
    if resolved is None:
        return None
    return {
        item.name: {"value": item.value, "source": item.source, "used": item.used}
        for item in _effective(resolved)
    }


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    value: str | int | float | None
    source: str
    used: bool


def _effective(resolved: Resolved[DatabaseSettings] | Resolved[WorkerSettings]) -> list[_Setting]:
    settings = resolved.settings
    by_url = isinstance(settings, DatabaseSettings) and settings.url is not None
    return [
        _Setting(
            item.name,
            _shown(item.name, getattr(settings, item.name)),
            resolved.sources[item.name],
            used=not (by_url and item.name in _PARTS),
        )
        for item in fields(settings)
    ]


def _shown(name: str, value: object) -> str | int | float | None:
    match value:
        case None | int():
            return value
        case timedelta():
            return value.total_seconds()
        case str() if name == "password":
            return "***"
        case str() if name in ("url", "direct_url"):
            return masked(value)
        case _:
            return str(value)
