"""Statements as files: every file loads, parameters keep their places, identifiers are quoted."""

from __future__ import annotations

from importlib.resources import files

import pytest

import jobplane.sql
from jobplane.sql import channel, load, parse, quoted

FOLDER = files(jobplane.sql)
NAMES = sorted(
    f"{folder.name}/{file.name.removesuffix('.sql')}"
    for folder in FOLDER.iterdir()
    if folder.is_dir() and folder.name not in ("migrations", "roles", "__pycache__")
    for file in folder.iterdir()
    if file.name.endswith(".sql")
)


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_begins_with_a_comment_and_names_its_tables_by_the_schema(name: str) -> None:
    text = FOLDER.joinpath(f"{name}.sql").read_text(encoding="utf-8")

    assert text.startswith("-- ")
    assert "control_plane" not in text
    assert "{schema}" in text or name in {
        "session/set",
        "wake/notify",
        "tenant/enter",
        "stats/oldest_transaction",
        "transaction/begun",
        "transaction/outcome",
    }


def test_the_schema_is_filled_in_quoted() -> None:
    statement = load("job/get", "other_schema")

    assert '"other_schema".jobs' in statement.numbered
    assert "{schema}" not in statement.numbered


def test_parameters_are_numbered_in_order_of_first_use() -> None:
    statement = parse("x/y", "SELECT :b, :a::text, :b::int[], :long_name", "s")

    assert statement.numbered == "SELECT $1, $2::text, $1::int[], $3"
    assert statement.pyformat == "SELECT %(b)s, %(a)s::text, %(b)s::int[], %(long_name)s"
    assert statement.parameters == ("b", "a", "long_name")
    assert statement.positions({"a": 1, "long_name": 3, "b": 2}) == (2, 1, 3)


def test_a_missing_argument_is_an_error() -> None:
    with pytest.raises(KeyError, match="b"):
        parse("x/y", "SELECT :a, :b", "s").positions({"a": 1})


def test_casts_times_and_comments_hold_no_parameters() -> None:
    text = "-- a comment with :nothing\nSELECT x::text, '10:30', :a\n  -- :neither\n"

    assert parse("x/y", text, "s").parameters == ("a",)


def test_a_percent_sign_is_doubled_for_the_driver_that_formats_with_it() -> None:
    statement = parse("x/y", "SELECT 7 % 2 WHERE 'x' LIKE 'a%' AND :a", "s")

    assert statement.numbered == "SELECT 7 % 2 WHERE 'x' LIKE 'a%' AND $1"
    assert statement.pyformat == "SELECT 7 %% 2 WHERE 'x' LIKE 'a%%' AND %(a)s"


def test_the_clock_may_be_another_function() -> None:
    statement = parse("x/y", "SELECT now(), now() - :a", "s", clock="test.clock()")

    assert statement.numbered == "SELECT test.clock(), test.clock() - $1"


@pytest.mark.parametrize(
    ("name", "safe"),
    [("jobs", '"jobs"'), ('a"b', '"a""b"'), ('"; DROP TABLE x; --', '"""; DROP TABLE x; --"')],
)
def test_an_identifier_is_quoted(name: str, safe: str) -> None:
    assert quoted(name) == safe


def test_each_schema_has_a_channel_of_its_own() -> None:
    assert channel("a") != channel("b")
    assert len(channel("x" * 48)) < 64, "PostgreSQL cuts longer names"
