"""`jobplane doctor`: each check when all is well, and when it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest

from jobplane import JobStatus
from jobplane.cli import checks
from jobplane.cli.failures import ExitCode
from tests.cli.commands import CommandLine, Ended
from tests.factories import SQL, make_job
from tests.support import until


async def test_a_healthy_database_passes_every_check(cli: CommandLine) -> None:
    text = await cli.process("doctor")
    document = (await cli.process("doctor", "--json")).document()

    assert text.code == 0
    assert "FAILED" not in text.out
    assert document["ok"] is True
    assert set(_checks(document)) == {
        "connection", "version", "primary", "clock", "snapshots", "rights", "schema", "unclaimable", "paused", "workers",
        "leases",
    }  # fmt: skip


async def test_settings_are_shown_with_their_sources_and_without_passwords(cli: CommandLine) -> None:
    variables = {
        "AUDIT_LOGS_DB_PASSWORD": "hunter2",
        "JOBPLANE_LEASE": "60",
        "AUDIT_LOGS_DB_HOST": "ignored.example",
    }
    url = "postgresql://someone:s3cr3t@127.0.0.1:1/app"

    text = await cli.run("doctor", "--database-url", url, **variables)
    document = (await cli.run("doctor", "--database-url", url, "--json", **variables)).document()

    for shown in (text.out, str(document)):
        assert "s3cr3t" not in shown
        assert "hunter2" not in shown
    assert document["database"] is not None
    database, worker = document["database"], document["worker"]
    assert isinstance(database, dict)
    assert isinstance(worker, dict)
    assert database["url"] == {
        "value": "postgresql://someone:***@127.0.0.1:1/app",
        "source": "argument",
        "used": True,
    }
    assert database["password"] == {"value": "***", "source": "AUDIT_LOGS_DB_PASSWORD", "used": False}
    assert database["pool_max"] == {"value": 10, "source": "default", "used": True}
    assert worker["lease"] == {"value": 60.0, "source": "JOBPLANE_LEASE", "used": True}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://nobody@127.0.0.1:1/nothing", "Connect call failed"),
        ("postgresql://nobody@no-such-host.invalid/nothing", "connecting"),
        ("mysql://somewhere/else", "cannot be read"),
        ("", "nothing says where the database is"),
    ],
    ids=["closed port", "unknown host", "not PostgreSQL", "nothing"],
)
async def test_a_database_that_cannot_be_reached_is_a_finding_with_advice(
    cli: CommandLine, url: str, says: str
) -> None:
    ended = await cli.process("doctor", DATABASE_URL=url)

    assert ended.code == ExitCode.REFUSED
    assert "FAILED" in ended.out
    assert says in ended.out
    assert "what to do next" in ended.out
    assert ended.err == ""


async def test_a_wrong_password_is_named_without_being_shown(cli: CommandLine, database_url: str) -> None:
    head, _, tail = database_url.rpartition("@")
    user = head.rpartition("/")[2].partition(":")[0]

    ended = await cli.run("doctor", "--database-url", f"postgresql://{user}:wr0ng@{tail}")

    if ended.code == 0:
        pytest.skip("this server trusts local connections")
    assert "password authentication failed" in ended.out
    assert "wr0ng" not in ended.out


async def test_a_malformed_setting_is_a_finding_and_the_database_is_checked_all_the_same(
    cli: CommandLine,
) -> None:
    ended = await cli.run("doctor", "--json", JOBPLANE_LEASE="soon")

    found = _checks(ended.document())
    assert ended.code == ExitCode.REFUSED
    assert found["settings"]["ok"] is False
    assert "JOBPLANE_LEASE" in str(found["settings"]["says"])
    assert found["schema"]["ok"] is True


async def test_a_missing_schema_says_to_migrate_and_skips_what_needs_it(bare_cli: CommandLine) -> None:
    ended = await bare_cli.run("doctor", "--json")

    found = _checks(ended.document())
    assert ended.code == ExitCode.REFUSED
    assert found["schema"]["ok"] is False
    assert found["schema"]["advice"] == "run jobplane migrate up"
    assert found["leases"]["ok"] is None


async def test_a_database_newer_than_the_code_is_fine_unless_it_says_otherwise(
    cli: CommandLine, sql: SQL
) -> None:
    await sql.execute(
        "INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (999, 'later', 'x')"
    )
    compatible = await cli.run("doctor", "--json")
    await sql.execute("COMMENT ON TABLE control_plane.jobplane_migrations IS 'oldest code: 999'")

    too_new = await cli.run("doctor", "--json")

    assert compatible.code == 0
    assert "newer than the code, by 999_later" in str(_checks(compatible.document())["schema"]["says"])
    assert too_new.code == ExitCode.REFUSED
    assert "runs only code that knows migration 999" in str(_checks(too_new.document())["schema"]["says"])


async def test_a_session_that_keeps_an_old_snapshot_is_named(
    cli: CommandLine, sql: SQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F13: what it holds back makes claims slow, and no other symptom leads there."""
    monkeypatch.setattr(checks, "OLD_SNAPSHOT", 0.2)
    await sql.execute("SET application_name = 'nightly report'")
    async with sql.transaction(isolation="repeatable_read"):
        await sql.fetchval("SELECT count(*) FROM control_plane.jobs")
        pid = await sql.fetchval("SELECT pg_backend_pid()")

        async def found() -> dict[str, object] | None:
            shown = _checks((await cli.run("doctor", "--json")).document())["snapshots"]
            return None if shown["ok"] else shown

        shown = await until(found)

    assert f"session {pid} (nightly report, idle in transaction)" in str(shown["says"])
    assert f"pg_terminate_backend({pid})" in str(shown["advice"])


async def test_jobs_that_nobody_can_run_are_found(cli: CommandLine, sql: SQL) -> None:
    await make_job(sql, type="unheard_of", scheduled_at=timedelta(seconds=-5))

    finding = _failed(await cli.run("doctor", "--json"), "unclaimable")

    assert "1 unheard_of on default" in str(finding["says"])


async def test_a_paused_queue_is_found(cli: CommandLine) -> None:
    await cli.run("queues", "pause", "slow")

    finding = _failed(await cli.run("doctor", "--json"), "paused")

    assert "jobplane queues resume slow" in str(finding["advice"])


async def test_a_worker_that_fell_silent_is_found(cli: CommandLine, sql: SQL) -> None:
    await sql.execute(
        "INSERT INTO control_plane.workers (id, host, pid, version, heartbeat_at) "
        "VALUES ('gone-1', 'gone', 1, '0', now() - interval '10 minutes')"
    )

    finding = _failed(await cli.run("doctor", "--json"), "workers")

    assert "gone-1 (10 min)" in str(finding["says"])


async def test_running_jobs_without_a_lease_are_found(cli: CommandLine, sql: SQL) -> None:
    await make_job(sql, JobStatus.RUNNING, lease_expires_at=None)

    finding = _failed(await cli.run("doctor", "--json"), "leases")

    assert str(finding["says"]).startswith("1 running")


async def test_a_clock_that_differs_is_found(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(datetime.now(UTC).timestamp() - 90, tz)

    monkeypatch.setattr(checks, "datetime", Slow)

    finding = _failed(await cli.run("doctor", "--json"), "clock")

    assert "90.0 s behind" in str(finding["says"])


async def test_an_old_server_is_found(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "OLDEST_SERVER", 990_000)

    finding = _failed(await cli.run("doctor", "--json"), "version")

    assert "too old" in str(finding["says"])


def _checks(document: dict[str, object]) -> dict[str, dict[str, object]]:
    found = document["checks"]
    assert isinstance(found, list)
    return {item["check"]: item for item in found}


def _failed(ended: Ended, check: str) -> dict[str, object]:
    """The finding of a check, which alone must have failed, with advice."""
    document = ended.document()
    failed = [name for name, finding in _checks(document).items() if finding["ok"] is False]
    assert failed == [check]
    assert document["ok"] is False
    assert ended.code == ExitCode.REFUSED
    assert _checks(document)[check]["advice"]
    return _checks(document)[check]
