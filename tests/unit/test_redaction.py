"""S5: what looks like a secret is starred out of messages before they are kept, and ordinary messages stay as they are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.failure import MAX_MESSAGE_BYTES, message_of, report_of
from jobplane.redaction import masked, redacted

CANARY = "c4nary-S3cret"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (f"connect to postgresql://app:{CANARY}@db:5432/x failed", "connect to postgresql://***@db:5432/x failed"),
        (f"postgresql://app:a/{CANARY}:@@db/x?sslpassword={CANARY}&a", "postgresql://***@db/x?sslpassword=***&a"),
        (f"https://{CANARY}@git.example/x.git", "https://***@git.example/x.git"),
        (f"redis://:{CANARY}@cache:6379/0 refused", "redis://***@cache:6379/0 refused"),
        (f"404 for url 'https://h/x?page=2&sig={CANARY}'", "404 for url 'https://h/x?page=***&sig=***'"),
        (f"https://h/cb#access_token={CANARY}&state=1", "https://h/cb#access_token=***&state=***"),
        (f"Authorization: Bearer {CANARY}", "Authorization: Bearer ***"),
        (f"{{'Authorization': 'Basic {CANARY}'}}", "{'Authorization': 'Basic ***'}"),
        (f'{{"proxy-authorization": "{CANARY}"}}', '{"proxy-authorization": "***"}'),
        (f"sent Bearer {CANARY}, got 401", "sent Bearer ***, got 401"),
        (f"Set-Cookie: sid={CANARY}; Path=/", "Set-Cookie: ***"),
        (f"password={CANARY} host=db", "password=*** host=db"),
        (f"PGPASSWORD={CANARY}", "PGPASSWORD=***"),
        (f"connect(user='a', password='{CANARY} x', port=1)", "connect(user='a', password=***, port=1)"),
        (f'{{"client_secret": "{CANARY}", "n": 1}}', '{"client_secret": ***, "n": 1}'),
        (f"{{'api_key': '{CANARY}'}}", "{'api_key': ***}"),
        (f"X-Api-Key: {CANARY}", "X-Api-Key: ***"),
        (f"password: {CANARY}", "password: ***"),
        ("password: 'letmein'", "password: ***"),
        (f"aws_secret_access_key = {CANARY}", "aws_secret_access_key = ***"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln expired", "jwt *** expired"),
        (
            f"bad key -----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY----- in a.pem",
            "bad key -----BEGIN RSA PRIVATE KEY----- *** in a.pem",
        ),
        (f"violates x\nDETAIL:  Failing row contains (1, {CANARY}).", "violates x\nDETAIL:  Failing row contains (***)."),
        (
            f"name\n  too short [type=t, input_value='{CANARY}', input_type=str]",
            "name\n  too short [type=t, input_value=***, input_type=str]",
        ),
    ],
)  # fmt: skip
def test_a_secret_in_a_message_becomes_stars(message: str, kept: str) -> None:
    assert redacted(message) == kept
    assert message_of(message) == kept
    assert report_of(ValueError(message)).message == kept
    assert redacted(kept) == kept, "a second time changes nothing"


@pytest.mark.parametrize(
    "message",
    [
        "plain words",
        'password authentication failed for user "app"',
        "invalid password: too short",
        "the token: expired",
        "Bearer authentication required",
        "unexpected token: 'import'",
        "unexpected token = at line 3",
        "max_tokens=4096 is over the limit, tokens: 5000",
        "token_count=3 password_length=12",
        "f() got an unexpected keyword argument 'password'",
        "f(token=None, secret='', password=null)",
        "KeyError: 'api_key'",
        "see https://example.com/@user/post and https://example.com:8443/@me",
        "https://example.com/search?q is down",
        "mail to a@b.example",
        "invalid literal for int() with base 10: 'abc'",
        "[Errno 111] Connect call failed ('127.0.0.1', 5432)",
        'duplicate key value violates unique constraint "idx"\nDETAIL:  Key (email)=(x) already exists.',
        "no end after 3600 s",
        "authorization was refused",
        "cookie: not found",
        "",
    ],
)  # fmt: skip
def test_an_ordinary_message_stays_as_it_is(message: str) -> None:
    assert redacted(message) == message


def test_a_secret_that_lies_across_the_cut_is_not_kept_in_halves() -> None:
    message = "x" * (MAX_MESSAGE_BYTES - 30) + f" postgresql://app:{CANARY * 3}@db/x"

    assert "c4nary" not in message_of(message)


@given(st.text(alphabet="ab1=:/@?#&'\" \n-.()[]{}\\") | st.text())
def test_any_text_can_be_redacted_and_does_not_grow_much(text: str) -> None:
    once = redacted(text)

    assert len(once) <= 4 * len(text) + 10


@pytest.mark.parametrize(
    "piece",
    ["a", "a-", "a://", "a://b:", "://@", "password", "password:", "password='", "\\", "bearer ", "authorization:",
     "cookie:a=", "input_value=", "eyJ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "Failing row contains (", " "],
)  # fmt: skip
def test_no_text_makes_redaction_slow(piece: str) -> None:
    """5 KiB is what message_of hands over; a pattern that backtracks without end would hold up a worker."""
    text = piece * (5120 // len(piece))
    began = time.process_time()

    for end in ("", "@", "=", "\n", "'"):
        redacted(text + end)

    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:s3cret@db/x", "postgresql://app:***@db/x"),
        ("postgresql://app:p@:/s3cret@db/x", "postgresql://app:***@db/x"),
        ("postgresql://app:p\ns3cret@db/x", "postgresql://app:***@db/x"),
        ("postgresql://db/x?user=a&password=s3cret&sslpassword=s3cret", "postgresql://db/x?user=a&password=***&sslpassword=***"),
        ("host=db password='s3 cret\\' s3cret' dbname=x", "host=db password=*** dbname=x"),
        ("host=db password = s3cret", "host=db password = ***"),
        ("postgresql://app:s3cret", "postgresql://app:***"),
        ("postgresql://app:s3cret/x", "postgresql://app:***/x"),
        ("app:s3cret@db/x", "app:***@db/x"),
        ("postgresql://app@db:5432/x", "postgresql://app@db:5432/x"),
        ("postgresql://db1:1,db2:2/x", "postgresql://db1:1,db2:2/x"),
        ("postgresql://[::1]:5432/x", "postgresql://[::1]:5432/x"),
        ("postgresql:///x?host=/run/postgresql", "postgresql:///x?host=/run/postgresql"),
    ],
)  # fmt: skip
def test_a_database_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked(shown) == shown
