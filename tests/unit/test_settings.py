"""Settings: explicit wins over environment wins over default; what is wrong is refused by name; no password shows."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from jobplane import ConfigurationError, DatabaseSettings, WorkerSettings
from jobplane.redaction import UNREADABLE, masked
from jobplane.settings import parse_queues, resolve


def test_everything_has_a_default() -> None:
    assert resolve(DatabaseSettings, {}).settings == DatabaseSettings()
    assert resolve(WorkerSettings, {}).settings == WorkerSettings()
    assert set(resolve(WorkerSettings, {}).sources.values()) == {"default"}


def test_the_environment_wins_over_the_default_and_is_named_as_the_source() -> None:
    resolved = resolve(DatabaseSettings, {"AUDIT_LOGS_DB_PORT": "6000", "JOBPLANE_PATIENCE": "2.5"})

    assert resolved.settings.port == 6000
    assert resolved.settings.patience == timedelta(seconds=2.5)
    assert resolved.sources["port"] == "AUDIT_LOGS_DB_PORT"
    assert resolved.sources["host"] == "default"


def test_an_explicit_argument_wins_over_the_environment() -> None:
    resolved = resolve(DatabaseSettings, {"AUDIT_LOGS_DB_PORT": "6000"}, port=7000)

    assert resolved.settings.port == 7000
    assert resolved.sources["port"] == "argument"


def test_an_explicit_argument_wins_even_if_it_equals_the_default() -> None:
    environ = {
        "AUDIT_LOGS_DB_PORT": "6000",
        "JOBPLANE_LEASE": "99",
        "DATABASE_URL": "postgresql://elsewhere/db",
    }

    assert resolve(DatabaseSettings, environ, port=5432).settings.port == 5432
    assert resolve(DatabaseSettings, environ, url=None).settings.url is None
    assert resolve(WorkerSettings, environ, lease=timedelta(seconds=45)).settings.lease == timedelta(
        seconds=45
    )


def test_an_explicit_host_wins_over_a_url_of_the_environment() -> None:
    resolved = resolve(DatabaseSettings, {"DATABASE_URL": "postgresql://elsewhere/db"}, host="here")

    assert (resolved.settings.url, resolved.settings.host) == (None, "here")
    assert (resolved.sources["url"], resolved.sources["host"]) == ("argument", "argument")


def test_the_first_variable_of_a_setting_wins_over_the_second() -> None:
    environ = {"JOBPLANE_POOL_MAX": "3", "AUDIT_LOGS_DB_POOL_MAX": "4"}

    assert resolve(DatabaseSettings, environ).settings.pool_max == 3


def test_an_empty_variable_counts_as_unset() -> None:
    assert (
        resolve(DatabaseSettings, {"DATABASE_URL": "", "AUDIT_LOGS_DB_PORT": ""}).settings
        == DatabaseSettings()
    )


@pytest.mark.parametrize(
    ("name", "guess"),
    [("heartbeat", "heartbeat_interval"), ("pol_interval", "poll_interval"), ("qeues", "queues")],
)
def test_a_mistyped_name_is_refused_with_a_guess(name: str, guess: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"unknown setting '{name}' .* did you mean '{guess}'"):
        resolve(WorkerSettings, {}, **{name: 1})


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(WorkerSettings, {}, zzz=1)

    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AUDIT_LOGS_DB_PORT", "five", "port must be a whole number"),
        ("AUDIT_LOGS_DB_PORT", "5432.5", "port must be a whole number"),
        ("AUDIT_LOGS_DB_PORT", "0", "port must be from 1 to 65535"),
        ("AUDIT_LOGS_DB_PORT", "65536", "port must be from 1 to 65535"),
        ("JOBPLANE_POOL_MAX", "0", "pool_max must be from 1 to 1000"),
        ("JOBPLANE_CONNECT_TIMEOUT", "soon", "connect_timeout must be a number of seconds"),
        ("JOBPLANE_CONNECT_TIMEOUT", "nan", "connect_timeout must be a number of seconds"),
        ("JOBPLANE_CONNECT_TIMEOUT", "inf", "connect_timeout must be a number of seconds"),
        ("JOBPLANE_CONNECT_TIMEOUT", "0", "connect_timeout must be from 0.1 to 300 seconds"),
        ("JOBPLANE_PATIENCE", "-1", "patience must be from 0 to 3600 seconds"),
        ("JOBPLANE_SCHEMA", "Has Space", "schema must match"),
        ("JOBPLANE_SCHEMA", 'x"; DROP SCHEMA public; --', "schema must match"),
        ("JOBPLANE_SCHEMA", "x" * 49, "schema must match"),
        ("JOBPLANE_SCHEMA", "jobs\n", "schema must match"),
    ],
)
def test_a_bad_variable_is_refused_by_its_setting_and_limit(variable: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        resolve(DatabaseSettings, {variable: value})

    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("JOBPLANE_POLL_INTERVAL", "0", "poll_interval must be from 0.01"),
        ("JOBPLANE_THREADS", "0", "threads must be from 1"),
        ("JOBPLANE_KEEP_FAILED", "-1", "keep_failed must be at least 0"),
        ("JOBPLANE_LEASE", "29", "lease must be at least three heartbeat intervals"),
        ("JOBPLANE_HEARTBEAT_INTERVAL", "20", "lease must be at least three heartbeat intervals"),
    ],
)
def test_a_bad_worker_setting_is_refused(variable: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        resolve(WorkerSettings, {variable: value})


def test_the_source_of_a_bad_value_is_named() -> None:
    with pytest.raises(ConfigurationError, match="from AUDIT_LOGS_DB_PORT"):
        resolve(DatabaseSettings, {"AUDIT_LOGS_DB_PORT": "x"})
    with pytest.raises(ConfigurationError, match="from argument"):
        resolve(DatabaseSettings, {}, port="x")


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("true", "require"),
        ("1", "require"),
        ("FALSE", "disable"),
        ("off", "disable"),
        ("verify-full", "verify-full"),
        ("Prefer", "prefer"),
        ("allow", "allow"),
        (True, "require"),
        (False, "disable"),
    ],
)
def test_ssl_takes_yes_no_and_libpqs_words(given: object, mode: str) -> None:
    assert resolve(DatabaseSettings, {}, ssl=given).settings.sslmode == mode


def test_another_word_for_ssl_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ssl must be true, false or one of disable, allow"):
        _ = resolve(DatabaseSettings, {"AUDIT_LOGS_DB_SSL": "maybe"}).settings.sslmode


@pytest.mark.parametrize(
    ("given", "on"), [("true", True), ("1", True), ("Off", False), ("no", False), (False, False)]
)
def test_prepared_statements_take_yes_and_no(given: object, *, on: bool) -> None:
    assert resolve(DatabaseSettings, {}, prepared_statements=given).settings.prepared_statements is on


def test_another_word_for_yes_or_no_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"must be true or false; got 'maybe' \(from JOBPLANE_PREPARED_STATEMENTS\)"
    ):
        resolve(DatabaseSettings, {"JOBPLANE_PREPARED_STATEMENTS": "maybe"})


def test_a_database_is_given_by_url_or_host() -> None:
    assert not DatabaseSettings(name="x", user="y").is_given
    assert DatabaseSettings(url="postgresql://x/y").is_given
    assert DatabaseSettings(host="x").is_given


def test_every_setting_says_what_it_is_and_where_it_comes_from() -> None:
    for cls in (DatabaseSettings, WorkerSettings):
        for item in fields(cls):
            assert item.metadata["sentence"].endswith("."), item.name
            assert item.metadata["env"], item.name


def test_no_two_settings_share_a_variable() -> None:
    named = [
        env
        for cls in (DatabaseSettings, WorkerSettings)
        for item in fields(cls)
        for env in item.metadata["env"]
    ]

    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("default:10", {"default": 10}),
        ("default", {"default": 10}),
        ("a:1,b:20", {"a": 1, "b": 20}),
        (" a:1 , b ,", {"a": 1, "b": 10}),
    ],
)
def test_queues_are_read_with_their_limits(text: str, queues: dict[str, int]) -> None:
    assert parse_queues(text) == queues


@pytest.mark.parametrize(
    "text", ["", ",", "a:0", "a:-1", "a:x", "a b:1", ":5", "a:1:2", "é:1", "a:1.5", "a:²"]
)
def test_queues_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="queues must "):
        parse_queues(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se:cr@et@host/db", UNREADABLE),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@host/db?password=secret&x=1", "postgresql://me@host/db?password=***&x=***"),
        ("postgresql://me:secret@h/db?PASSWORD=secret", UNREADABLE),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert "secret" not in masked(url)


def test_settings_do_not_show_the_password_when_printed() -> None:
    settings = resolve(
        DatabaseSettings, {}, url="postgresql://me:secret@host/db", password="secret", host="h"
    ).settings

    assert "secret" not in repr(settings)
