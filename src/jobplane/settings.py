"""Every setting, declared once: its default, its limits, its environment variable and its sentence.

One frozen dataclass for each component. `resolve` merges explicit arguments (which always win, also when
they equal the default), environment variables and defaults, and remembers where each value came from.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args, get_type_hints

from jobplane.errors import ConfigurationError, shown
from jobplane.parsing import parsed
from jobplane.urls import plain

T = TypeVar("T")
SSLMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SCHEMA_PATTERN: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}")
MAX_SLOTS: Final = 10_000
"""Jobs of one queue that a worker may run at once: each slot is a task, started with the worker."""


def setting(
    default: T,
    sentence: str,
    *env: str,
    least: float | None = None,
    most: float | None = None,
    secret: bool = False,
) -> T:
    """A field of a settings class; its bounds are in seconds where the value is a timedelta. A secret is not printed."""
    metadata = {"sentence": sentence, "env": env, "least": least, "most": most}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the database is and how many connections to hold. A url wins over the single parts."""

    url: str | None = setting(None, "Where PostgreSQL is, as a URL.", "DATABASE_URL", secret=True)
    host: str | None = setting(None, "The server's name or socket folder.", "AUDIT_LOGS_DB_HOST")
    port: int = setting(5432, "The server's port.", "AUDIT_LOGS_DB_PORT", least=1, most=65535)
    name: str = setting("postgres", "The database's name.", "AUDIT_LOGS_DB_NAME")
    user: str | None = setting(None, "The role to log in as.", "AUDIT_LOGS_DB_USER")
    password: str | None = setting(None, "Its password.", "AUDIT_LOGS_DB_PASSWORD", secret=True)
    ssl: str = setting(
        "prefer",
        "TLS: true, false, or a libpq sslmode; verify-full for a remote server.",
        "AUDIT_LOGS_DB_SSL",
    )
    schema: str = setting("control_plane", "The schema of jobplane's tables.", "JOBPLANE_SCHEMA")
    pool_max: int = setting(
        10,
        "Connections a process may hold.",
        "JOBPLANE_POOL_MAX",
        "AUDIT_LOGS_DB_POOL_MAX",
        least=1,
        most=1000,
    )
    connect_timeout: timedelta = setting(
        timedelta(seconds=5),
        "The longest wait for one connection.",
        "JOBPLANE_CONNECT_TIMEOUT",
        least=0.1,
        most=300,
    )
    statement_timeout: timedelta = setting(
        timedelta(seconds=30),
        "The longest wait for one answer.",
        "JOBPLANE_STATEMENT_TIMEOUT",
        least=0.1,
        most=3600,
    )
    network_timeout: timedelta = setting(
        timedelta(seconds=10),
        "How soon a network that passes nothing any more is noticed, although no connection ends.",
        "JOBPLANE_NETWORK_TIMEOUT",
        least=0.5,
        most=3600,
    )
    patience: timedelta = setting(
        timedelta(seconds=10),
        "How long a call keeps trying while the server restarts or refuses connections.",
        "JOBPLANE_PATIENCE",
        least=0,
        most=3600,
    )
    prepared_statements: bool = setting(
        True,
        "Keep statements prepared on each connection; false behind PgBouncer in transaction mode.",
        "JOBPLANE_PREPARED_STATEMENTS",
    )
    direct_url: str | None = setting(
        None,
        "The server itself, past a pooler: for migrations, and to be woken by notifications.",
        "JOBPLANE_DIRECT_URL",
        secret=True,
    )
    row_security: bool = setting(
        False,
        "Tell the server the client's tenant in each transaction: jobplane tenants enable makes it ask.",
        "JOBPLANE_ROW_SECURITY",
    )

    def __post_init__(self) -> None:
        if not SCHEMA_PATTERN.fullmatch(self.schema):
            raise ConfigurationError(
                f"schema must match [a-z_][a-z0-9_]{{0,47}}; got {shown(self.schema)} (JOBPLANE_SCHEMA)"
            )
        _check_bounds(self)
        for name in ("url", "direct_url"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, plain(given))

    @property
    def sslmode(self) -> SSLMode:
        """The ssl setting as libpq's word. Raises ConfigurationError for any other."""
        for mode in get_args(SSLMode):
            if self.ssl == mode:
                return cast("SSLMode", mode)
        raise ConfigurationError(
            f"ssl must be true, false or one of {', '.join(get_args(SSLMode))}; got {shown(self.ssl)}"
        )

    @property
    def is_given(self) -> bool:
        """Whether anything says where the server is."""
        return self.url is not None or self.host is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How one worker process claims, runs and reports."""

    queues: str = setting(
        "default:10", "Queues with the number of jobs to run at once, as name:limit,...", "JOBPLANE_QUEUES"
    )
    poll_interval: timedelta = setting(
        timedelta(seconds=1),
        "The longest an idle worker goes without looking.",
        "JOBPLANE_POLL_INTERVAL",
        least=0.01,
        most=3600,
    )
    heartbeat_interval: timedelta = setting(
        timedelta(seconds=10),
        "How often leases are renewed.",
        "JOBPLANE_HEARTBEAT_INTERVAL",
        least=0.05,
        most=600,
    )
    lease: timedelta = setting(
        timedelta(seconds=45),
        "How long a claim holds without renewal; at least three heartbeats.",
        "JOBPLANE_LEASE",
        least=0.5,
        most=86400,
    )
    sweep_interval: timedelta = setting(
        timedelta(seconds=10),
        "How often expired leases are looked for.",
        "JOBPLANE_SWEEP_INTERVAL",
        least=0.05,
        most=3600,
    )
    grace: timedelta = setting(
        timedelta(seconds=30),
        "How long running jobs may finish after SIGTERM.",
        "JOBPLANE_GRACE",
        least=0,
        most=86400,
    )
    timeout: timedelta | None = setting(
        timedelta(hours=1),
        "The longest an attempt may take where its task says nothing.",
        "JOBPLANE_TIMEOUT",
        least=0.01,
        most=30 * 86400,
    )
    crash_limit: int = setting(3, "Workers that one job may kill in a day.", "JOBPLANE_CRASH_LIMIT", least=1)
    threads: int = setting(
        32, "Threads for synchronous handlers, over all queues.", "JOBPLANE_THREADS", least=1, most=1000
    )
    prefetch: timedelta = setting(
        timedelta(milliseconds=100),
        "Claim ahead for at most this much work, at the pace of the last second; 0 claims for free slots only.",
        "JOBPLANE_PREFETCH",
        least=0,
        most=10,
    )
    keep_completed: timedelta = setting(
        timedelta(days=7), "How long completed jobs are kept.", "JOBPLANE_KEEP_COMPLETED", least=0
    )
    keep_failed: timedelta = setting(
        timedelta(days=30), "How long failed jobs are kept.", "JOBPLANE_KEEP_FAILED", least=0
    )
    keep_cancelled: timedelta = setting(
        timedelta(days=7), "How long cancelled jobs are kept.", "JOBPLANE_KEEP_CANCELLED", least=0
    )
    keep_history: timedelta = setting(
        timedelta(days=30),
        "How long transitions are kept, where a history is kept.",
        "JOBPLANE_KEEP_HISTORY",
        least=0,
    )

    def __post_init__(self) -> None:
        _check_bounds(self)
        if self.lease < 3 * self.heartbeat_interval:
            raise ConfigurationError(
                f"lease must be at least three heartbeat intervals, or one late heartbeat loses jobs; "
                f"got lease {self.lease.total_seconds()} s and heartbeat_interval {self.heartbeat_interval.total_seconds()} s"
            )


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """Settings with the source of each value: argument, the variable's name, or default."""

    settings: T
    sources: Mapping[str, str]


def resolve(cls: type[T], environ: Mapping[str, str], **explicit: object) -> Resolved[T]:
    """Settings of class `cls` from explicit arguments, then `environ`, then defaults.

    Raises ConfigurationError for an unknown name (with a guess at what was meant), or for a value that does
    not parse or is out of bounds, naming the setting, its source and the limit.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for name in explicit.keys() - known.keys():
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"unknown setting {name!r} for {cls.__name__}{hint}")
    if cls is DatabaseSettings and "host" in explicit:
        explicit = {"url": None, **explicit}  # an argument wins over the environment's DATABASE_URL
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for name, item in known.items():
        variable = next((env for env in item.metadata["env"] if environ.get(env, "") != ""), None)
        if name in explicit:
            values[name], sources[name] = (
                parsed(name, explicit[name], str(hints[name]), "argument"),
                "argument",
            )
        elif variable is not None:
            values[name], sources[name] = (
                parsed(name, environ[variable], str(hints[name]), variable),
                variable,
            )
        else:
            sources[name] = "default"
    return Resolved(cls(**values), sources)


def _check_bounds(settings: object) -> None:
    for item in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, item.name)
        number = value.total_seconds() if isinstance(value, timedelta) else value
        least, most = item.metadata["least"], item.metadata["most"]
        if not isinstance(number, int | float) or (least is None and most is None):
            continue
        if (least is not None and number < least) or (most is not None and number > most):
            unit = " seconds" if isinstance(value, timedelta) else ""
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            raise ConfigurationError(f"{item.name} must be {bounds}{unit}; got {shown(number)}")


def parse_queues(text: str) -> dict[str, int]:
    """`name:limit,name:limit` as a mapping; a name without a limit gets 10.

    Raises ConfigurationError for a name or limit that cannot be.
    """
    queues: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, limit = part.partition(":")
        if (
            not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name)
            or not re.fullmatch(r"[0-9]{1,5}", limit or "10")
            or not 1 <= int(limit or 10) <= MAX_SLOTS
        ):
            raise ConfigurationError(
                f"queues must be name:limit,... with limits from 1 to {MAX_SLOTS}; got {shown(part)}"
            )
        queues[name] = int(limit or 10)
    if not queues:
        raise ConfigurationError("queues must name at least one queue, for example default:10")
    return queues
