"""`jobplane roles`: the database roles, their rights, and the SQL that makes them."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

from jobplane.cli.failures import ExitCode, expected_errors, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, database_settings, required_database
from jobplane.cli.output import Column, print_json, print_table
from jobplane.store import roles as store
from jobplane.store.rights import rights, summary

roles = typer.Typer(help="Set up database roles with no more rights than they need.", no_args_is_help=True)

Prefix: TypeAlias = Annotated[
    str, typer.Option("--prefix", metavar="PREFIX", help="What the names of the roles begin with.")
]
_ALL = {"owner": "everything", "migrator": "acts as the owner"}


@roles.command()
def apply(prefix: Prefix = store.PREFIX, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Make the six roles and give each its rights; what else they or PUBLIC had is taken away.

    They cannot log in: grant them to the roles that your programs log in as. Running it again changes nothing; run it
    after each migrate up. Takes a superuser, or the owner of the tables with CREATEROLE.
    """
    run_async(store.apply(required_database(database_url, schema), prefix))
    for purpose, name in store.names(prefix).items():
        typer.echo(f"{name}: {_ALL.get(purpose) or summary(rights()[purpose], most=3)}")
    worker = store.names(prefix)["worker"]
    typer.echo(f"now grant them, for example: GRANT {worker} TO <the role that workers log in as>", err=True)


@roles.command()
def show(
    prefix: Prefix = store.PREFIX,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Show each role, who is a member, and what it lacks. Exit code 1 when something is missing."""
    found = run_async(store.status(required_database(database_url, schema), prefix))
    fine = all(role.exists and not role.lacks for role in found)
    if as_json:
        print_json(
            {
                "roles": [
                    {
                        "purpose": role.purpose,
                        "name": role.name,
                        "exists": role.exists,
                        "members": list(role.members),
                        "rights": [str(right) for right in rights().get(role.purpose, ())],
                        "lacks": [str(right) for right in role.lacks],
                    }
                    for role in found
                ],
                "ok": fine,
            }
        )
    else:
        print_table(
            ("role", "members", Column("state", room=20, prose=True), Column("may", room=20, prose=True)),
            [
                (
                    role.name,
                    ", ".join(role.members) or None,
                    _state(role),
                    _ALL.get(role.purpose) or summary(rights()[role.purpose], most=20),
                )
                for role in found
            ],
            "",
        )
    if not fine:
        typer.echo(f"run jobplane roles apply --prefix {prefix}", err=True)
        raise typer.Exit(ExitCode.REFUSED)


@roles.command()
def sql(prefix: Prefix = store.PREFIX, schema: Schema = None) -> None:
    """Print what apply runs, for those who keep grants in migrations of their own. Needs no database."""
    with expected_errors():
        text = store.script(database_settings(None, schema).schema, prefix)
        sys.stdout.write(f"BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n{text}COMMIT;\n")


def _state(role: store.RoleStatus) -> str:
    if not role.exists:
        return "is not there"
    return f"lacks {summary(role.lacks)}" if role.lacks else "ok"
