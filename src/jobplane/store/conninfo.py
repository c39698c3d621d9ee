"""Where the database is, in the words of libpq. Needs psycopg."""

from __future__ import annotations

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from jobplane.errors import ConfigurationError
from jobplane.redaction import masked
from jobplane.settings import DatabaseSettings


def conninfo_of(settings: DatabaseSettings) -> str:
    """The settings as libpq reads them. Raises ConfigurationError for a URL that cannot be read, without quoting it."""
    if settings.url is not None:
        if not _is_readable(settings.url):
            raise ConfigurationError(
                f"the database URL {masked(settings.url)} cannot be read: write it as "
                "postgresql://user:password@host:5432/name, with special characters in user and password percent-encoded"
            )
        return settings.url
    return make_conninfo(
        host=settings.host,
        port=settings.port,
        dbname=settings.name,
        user=settings.user,
        password=settings.password,
        sslmode=settings.ssl,
    )


def _is_readable(url: str) -> bool:
    # What libpq refuses it quotes, and what it takes for a host may be a part of the password: both in its log, too.
    try:
        parts = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        return False
    if any(
        "@" in part or _has_space(part) for part in (str(parts.get("host", "")), str(parts.get("port", "")))
    ):
        return False
    # In a name an @ or a space is meant where it is percent-encoded (roles such as app@tenant are common).
    rest = url.partition("://")[2]
    if not rest:
        return not any(_has_space(str(parts.get(name, ""))) for name in ("dbname", "user"))
    path = rest.partition("?")[0].partition("/")[2]
    return "@" not in path and not _has_space(url)


def _has_space(text: str) -> bool:
    return any(map(str.isspace, text))
