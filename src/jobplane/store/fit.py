"""Whether this code may run on a database whose schema is not its own: older, or newer in the middle of a deploy.

Migrations add: code that does not know the last of them runs on it all the same, which is what a rolling deploy needs.
One that takes away what older code uses says so in the comment on the log: `oldest code: 012` is the version of the
schema that code must know to run there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jobplane.errors import MigrationError
from jobplane.settings import DatabaseSettings
from jobplane.store.migrator import Migrator, migrations

OLDEST_CODE: Final = re.compile(r"\boldest code: (\d+)")


@dataclass(frozen=True, slots=True)
class Fit:
    """How this code and a database fit together; each migration as NNN_name."""

    missing: tuple[str, ...]
    """What the code knows and the database lacks: run jobplane migrate up."""
    newer: tuple[str, ...]
    """What the database has and the code does not know; it may run all the same."""


async def fit_of(settings: DatabaseSettings) -> Fit:
    """How a database fits.

    Raises:
        MigrationError: an applied file was edited, or the database says that this code is too old.
        DatabaseError: it cannot be reached or read.
    """
    log, comment = await Migrator(settings).log()
    known = {migration.version: migration.name for migration in migrations()}
    newer = tuple(f"{version:03}_{name}" for version, name in log if version not in known)
    oldest = OLDEST_CODE.search(comment)
    if newer and oldest is not None and int(oldest[1]) > max(known):
        raise MigrationError(
            f"the database has migration {newer[-1]}, and runs only code that knows migration {oldest[1]}; this version "
            f"of jobplane knows those up to {max(known):03}. Upgrade jobplane."
        )
    applied = {version for version, _ in log}
    missing = tuple(f"{version:03}_{name}" for version, name in known.items() if version not in applied)
    return Fit(missing, newer)
