"""`jobplane tenants`: row security, which keeps each tenant's programs to its own jobs."""

from __future__ import annotations

import typer

from jobplane.cli.failures import run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import print_json, print_table
from jobplane.cli.roles import Prefix
from jobplane.store import tenants as store
from jobplane.store.roles import PREFIX

tenants = typer.Typer(help="Keep each tenant's programs to its own jobs.", no_args_is_help=True)


@tenants.command()
def enable(prefix: Prefix = PREFIX, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Let everyone but workers and the owner see and write the jobs of their own tenant only.

    From then on each transaction has to name its tenant; clients do so with JobQueue(tenant=...) and
    JOBPLANE_ROW_SECURITY=true, which may be set long before. Needs the roles: jobplane roles apply comes first.
    """
    run_async(store.enable(required_database(database_url, schema), prefix))
    typer.echo("row security is on: without a tenant nobody but workers and the owner sees a job")


@tenants.command()
def disable(database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Let everyone who may read the tables see all jobs again. Jobs keep their tenants."""
    run_async(store.disable(required_database(database_url, schema)))
    typer.echo("row security is off: whoever may read the tables sees the jobs of all tenants")


@tenants.command()
def status(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show which tables have row security, and who sees all tenants."""
    found = run_async(store.status(required_database(database_url, schema)))
    if as_json:
        tables = [
            {
                "name": table.name,
                "enabled": table.enabled,
                "forced": table.forced,
                "exempt": list(table.exempt),
            }
            for table in found.tables
        ]
        print_json({"enabled": found.enabled, "tables": tables, "unfinished_without_tenant": found.untold})
        return
    print_table(
        ("table", "row security", "who sees all tenants"),
        [
            (
                table.name,
                "on" if table.enabled and table.forced else "off",
                ", ".join(table.exempt) if table.enabled else "everyone",
            )
            for table in found.tables
        ],
        "",
    )
    if found.untold:
        typer.echo(f"{found.untold} unfinished jobs have no tenant: with row security only workers see them")
