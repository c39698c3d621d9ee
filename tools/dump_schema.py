"""The schema as one readable file: what the migrations make of an empty database, by pg_dump, without its noise.

`--check` fails when tests/schema.sql says something else; `--write` writes it. A change of the schema then shows
in the diff of that file, whichever migrations it took.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from jobplane import DatabaseSettings
from jobplane.embedded import EmbeddedServer
from jobplane.embedded.programs import find_programs
from jobplane.store.migrator import Migrator

SCHEMA: Final = Path(__file__).parents[1] / "tests" / "schema.sql"
HEADER: Final = "-- Made by tools/dump_schema.py --write; checked by make check.\n\n"
# Comments, psql's own commands, and settings of the session that restores: they differ between versions of pg_dump.
NOISE: Final = re.compile(r"--|\\|SET |SELECT pg_catalog\.set_config\(")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare; exit code 1 when the file differs")
    what.add_argument("--write", action="store_true", help="write the file")
    given = parser.parse_args()
    schema = HEADER + normalised(dumped())
    if given.write:
        SCHEMA.write_text(schema, encoding="utf-8")
        return 0
    written = SCHEMA.read_text(encoding="utf-8") if SCHEMA.exists() else ""
    if written == schema:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            written.splitlines(True), schema.splitlines(True), "tests/schema.sql", "the migrations"
        )
    )
    print("\ntests/schema.sql is not what the migrations make: run python tools/dump_schema.py --write")
    return 1


def dumped() -> str:
    """What pg_dump says of a freshly migrated database."""
    with tempfile.TemporaryDirectory(prefix="jobplane-schema-") as folder:
        # The account that runs the server must be able to enter.
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data", fsync=False) as server:
            asyncio.run(Migrator(DatabaseSettings(url=server.url())).up())
            return pg_dump(server.url())


def pg_dump(url: str) -> str:
    """The definitions of a database, by the embedded server's own pg_dump."""
    parts = urlsplit(url)
    where = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    done = subprocess.run(  # noqa: S603 - a list, and no shell
        [find_programs(None, None).folder / "pg_dump", "--schema-only", "--no-owner", "--no-privileges"],
        env=os.environ | where,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def normalised(dump: str) -> str:
    """A dump without what differs from one run or version to the next."""
    lines = [line.rstrip() for line in dump.splitlines()]
    body: list[str] = []
    inside_function = False
    for line in lines:
        if inside_function or not NOISE.match(line):
            body.append(line)
        inside_function ^= len(re.findall(r"\$\w*\$", line)) % 2 == 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(body)).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
