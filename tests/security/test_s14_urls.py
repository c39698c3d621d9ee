"""S14: a slip in a database URL shows the password nowhere: not in an error, not in its traceback, not in doctor, not in a log."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from jobplane import DatabaseSettings, JobplaneError, JobQueue, Registry, SyncJobQueue, Worker
from jobplane.cli.main import app
from jobplane.redaction import holds_password, masked
from jobplane.settings import resolve

CANARY: Final = "Xc4naryX"
GOOD: Final = f"postgresql://app:{CANARY}@127.0.0.1:1/jobs?sslmode=disable"
"""Nobody listens there."""
AT_ONCE: Final = timedelta(seconds=0.3)


def slips() -> Iterator[str]:
    """URLs with one thing wrong, as hands make them."""
    for place in range(len(GOOD) + 1):
        if not CANARY.startswith(GOOD[max(place - 1, 0)]) or GOOD[place : place + 8] == CANARY:
            inside = GOOD.index(CANARY) < place < GOOD.index(CANARY) + len(CANARY)
            if not inside:
                for extra in (" ", ":", "@", "/", "?", "#", "%", "\n", "é"):
                    yield GOOD[:place] + extra + GOOD[place:]
                if place < len(GOOD) and GOOD[place] in ":/@?=&.":
                    yield GOOD[:place] + GOOD[place + 1 :]
    for special in "@:/?#[]% &=\"'\\\n|{}":
        yield GOOD.replace(CANARY, f"{CANARY}{special}{CANARY}")
        yield GOOD.replace(CANARY, f"{special}{CANARY}")
        yield GOOD.replace(CANARY, f"{CANARY}{special}")
    yield from (
        f"app:{CANARY}@127.0.0.1:1/jobs",
        f"postgresql//app:{CANARY}@127.0.0.1:1/jobs",
        f"postgresql:/app:{CANARY}@127.0.0.1:1/jobs",
        f"postgresql://app:{CANARY}",
        f"postgresql://app:{CANARY}/jobs",
        f"postgresql://{CANARY}:app@127.0.0.1:1@jobs",
        f"postgresql://127.0.0.1:1/jobs?user=app&pass={CANARY}",
        f"postgresql://127.0.0.1:1/jobs?user=app&Password={CANARY}",
        f"postgresql://127.0.0.1:1/jobs?password {CANARY}",
        f"postgresql://127.0.0.1:1/jobs?{CANARY}",
        f"postgresql://127.0.0.1:1/jobs&password={CANARY}",
        f"postgresql://[::1:{CANARY}@127.0.0.1:1/jobs",
        f"host=127.0.0.1 port=1 password={CANARY}",
        f"host=127.0.0.1 port=1 password '{CANARY}'",
        f"'postgresql://app:{CANARY}@127.0.0.1:1/jobs'",
        f"DATABASE_URL=postgresql://app:{CANARY}@127.0.0.1:1/jobs",
        f"psql postgresql://app:{CANARY}@127.0.0.1:1/jobs",
        f"mysql://app:{CANARY}@127.0.0.1:1/jobs",
        f"postgresql://app:%zz{CANARY}@127.0.0.1:1/jobs",
        f"postgresql://app:{CANARY}@127.0.0.1:one/jobs",
        f"postgresql://app:{CANARY}@127.0.0.1:1:2/jobs",
        f"postgresql://app:{CANARY}@a b:1/jobs",
        f"{CANARY}",
    )


A_USER_OF_THAT_NAME: Final = GOOD.replace(":X", "X")
"""Nothing tells this slip from a URL without a password."""
SLIPS: Final = sorted({*slips()} - {A_USER_OF_THAT_NAME})


def everything_of(error: BaseException) -> str:
    """What a log, a debugger or an error tracker shows of an error."""
    return f"{error}\n{error!r}\n{''.join(traceback.format_exception(error))}"


def test_what_is_printed_of_a_url_never_holds_its_password() -> None:
    assert len(SLIPS) > 300
    shown = {url: masked(url) for url in (GOOD, *SLIPS)}

    assert [url for url, text in shown.items() if CANARY in text] == []
    assert shown[GOOD] == "postgresql://app:***@127.0.0.1:1/jobs?sslmode=disable"
    assert [url for url in SLIPS if not holds_password(url)] == [], "each of them deserves a warning"


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_no_error_of_a_client_shows_the_password(
    colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    chosen = SLIPS if colour == "async" else [GOOD, *SLIPS[::4]]
    seen: dict[str, str] = {}

    async def try_one(url: str) -> None:
        settings = replace(DatabaseSettings(url=url), patience=AT_ONCE, connect_timeout=AT_ONCE)
        try:
            if colour == "async":
                async with JobQueue(settings=settings) as queue:
                    await queue.enqueue("work")
            else:
                await asyncio.to_thread(_enqueue, settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            seen[url] = everything_of(error)

    for begin in range(0, len(chosen), 25):
        await asyncio.gather(*map(try_one, chosen[begin : begin + 25]))

    assert len(seen) == len(chosen), "nobody listens there"
    assert [url for url, text in seen.items() if CANARY in text] == []
    assert CANARY not in caplog.text


def _enqueue(settings: DatabaseSettings) -> None:
    with SyncJobQueue(settings=settings) as queue:
        queue.enqueue("work")


@pytest.mark.parametrize("colour", ["async", "sync"])
@pytest.mark.parametrize(
    "slip",
    [
        f"app;{CANARY}@",
        f"app,{CANARY}@",
        f"app%3A{CANARY}@",
        f"app:{CANARY}%ff@",
        f"app:{CANARY}\udce9@",
    ],
)
async def test_what_the_server_and_the_drivers_say_of_a_slip_does_not_show_it(
    slip: str, colour: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They repeat the user's name, or quote the whole URL."""
    parts = urlsplit(database_url)
    url = f"postgresql://{slip}{parts.hostname}:{parts.port}{parts.path}"
    settings = replace(DatabaseSettings(url=url), patience=AT_ONCE, connect_timeout=timedelta(seconds=3))

    async def use() -> None:
        if colour == "async":
            async with JobQueue(settings=settings) as queue:
                await queue.enqueue("work")
        else:
            await asyncio.to_thread(_enqueue, settings)

    with pytest.raises(JobplaneError) as caught:
        await use()

    assert CANARY not in everything_of(caught.value)
    assert colour == "sync" or CANARY not in caplog.text, "what psycopg's pool logs by itself is not ours"


@pytest.mark.parametrize(
    "command", [["doctor"], ["doctor", "--json"], ["jobs", "list"], ["migrate", "status"]], ids=" ".join
)
def test_no_command_shows_the_password(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBPLANE_PATIENCE", "0.1")
    monkeypatch.setenv("JOBPLANE_CONNECT_TIMEOUT", "0.3")
    for url in [GOOD, *SLIPS[::20]]:
        for variable in ("DATABASE_URL", "JOBPLANE_DIRECT_URL"):
            monkeypatch.setenv("DATABASE_URL", GOOD)
            monkeypatch.setenv(variable, url.replace("\0", ""))
            result = CliRunner().invoke(app, command)
            said = result.output + ("" if result.exception is None else everything_of(result.exception))
            assert CANARY not in said, (url, said)


def test_settings_and_workers_print_without_the_password() -> None:
    for url in SLIPS:
        settings = resolve(DatabaseSettings, {}, url=url).settings
        worker = Worker(Registry(), database=settings)
        assert CANARY not in f"{settings!r} {settings} {worker!r}", url
