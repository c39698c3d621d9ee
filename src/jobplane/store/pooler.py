"""Behind a pooler in transaction mode (PgBouncer): nothing that a session keeps may be relied on, nor left behind.

The server's session changes hands at each commit, so the settings of a session (jobplane.store.session) are made for
each transaction instead: what outlives one would reach whoever gets the server's session next.
"""

from __future__ import annotations

from dataclasses import replace

from jobplane.errors import ConfigurationError
from jobplane.settings import DatabaseSettings


def past_pooler(settings: DatabaseSettings) -> DatabaseSettings | None:
    """The way to the server itself, for what needs a session; None where only the pooler is known."""
    if settings.direct_url is not None:
        return replace(settings, url=settings.direct_url, prepared_statements=True)
    return settings if settings.prepared_statements else None


def must_pass_pooler(settings: DatabaseSettings, what: str) -> DatabaseSettings:
    """As past_pooler. Raises ConfigurationError where only the pooler is known."""
    direct = past_pooler(settings)
    if direct is None:
        raise ConfigurationError(
            f"{what} needs a session of its own, which a pooler in transaction mode does not give: set "
            "JOBPLANE_DIRECT_URL to the URL of the server itself"
        )
    return direct
