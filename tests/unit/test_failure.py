"""I19: whatever a handler raises becomes a report that can be stored: valid text of at most 8 KiB."""

from __future__ import annotations

import re
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.failure import ErrorReport, report_of, storable
from jobplane.payload import encode_json


class _Hostile(Exception):  # noqa: N818 - what users call their errors
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Exits(BaseException):
    def __str__(self) -> str:
        raise SystemExit(3)


class _NoText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307


class _Text(str):
    __slots__ = ()

    def encode(self, *_: object) -> NoReturn:
        raise RuntimeError("not encodable")

    def __getitem__(self, _: object) -> NoReturn:
        raise RuntimeError("not sliceable")


class _OddText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return _Text("x")


class _Nameless(type):
    def __getattribute__(cls, name: str) -> object:
        if name == "__qualname__":
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class _NamelessError(Exception, metaclass=_Nameless):
    pass


def _raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def repr_of(error: BaseException) -> str:
    """The test's name: the class's, without what would hurt a terminal."""
    return ascii(type(error).__name__[:20])


def _size(report: ErrorReport) -> int:
    return sum(len(text.encode()) for text in (report.type, report.message, *report.frames))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("plain"),
        ValueError(),
        ValueError("x" * 10_000_000),
        ValueError("☃" * 10_000_000),
        ValueError("a\0b"),
        ValueError("\ud800 \udfff"),
        ValueError("\ud83d" * 5000),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
        _Hostile(),
        _Exits(),
        _NoText(),
        _OddText(),
        _NamelessError("x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ExceptionGroup("many", [ValueError("x" * 9000), _Hostile()]),
        type("N" * 100_000, (Exception,), {})("x" * 100_000),
    ],
    ids=repr_of,
)
def test_any_exception_becomes_a_report_of_at_most_8_kib_of_valid_text(error: BaseException) -> None:
    report = report_of(_raised(error))

    for text in (report.type, report.message, report.line(), *report.frames):
        assert "\0" not in text
        text.encode()
    assert report.type
    assert _size(report) <= 8192


def test_a_report_names_type_message_and_frames() -> None:
    report = report_of(_raised(KeyError("missing")))

    assert report.type == "KeyError"
    assert report.message == "'missing'"
    assert report.line() == "KeyError: 'missing'"
    assert re.fullmatch(r".*test_failure\.py:\d+ _raised", report.frames[-1])


def test_an_error_without_a_message_is_its_type_alone() -> None:
    assert report_of(ValueError()).line() == "ValueError"


def test_an_error_whose_str_raises_says_so() -> None:
    report = report_of(_Hostile())

    assert report.type == "_Hostile"
    assert report.message == "<message unavailable: __str__ raised RuntimeError>"


def test_frames_hold_neither_source_text_nor_the_values_of_locals() -> None:
    def connect() -> None:
        password = "hunter2-" + "canary"
        raise ConnectionError(f"refused after {len(password)} characters")

    with pytest.raises(ConnectionError) as caught:
        connect()

    assert "canary" not in repr(report_of(caught.value))
    assert "raise" not in repr(report_of(caught.value).frames)


def test_the_innermost_frames_of_a_deep_stack_are_kept() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            raise RecursionError("bottom")
        dive(depth - 1)

    with pytest.raises(RecursionError) as caught:
        dive(200)
    report = report_of(caught.value)

    assert len(report.frames) == 20
    assert report.frames[-1].endswith("dive")


def test_hostile_file_and_function_names_stay_within_bounds_also_as_json() -> None:
    """The frames are stored as JSON, where a control character takes six bytes."""
    code = "def f(n):\n    f(n - 1) if n else 1 / 0\n"
    scope: dict[str, object] = {}
    exec(compile(code, '\x01\ud800"\\' * 200, "exec"), scope)
    f = scope["f"]
    assert callable(f)

    with pytest.raises(ZeroDivisionError) as caught:
        f(30)
    report = report_of(caught.value)

    assert len(report.frames) == 20
    assert len(encode_json("frames", report.frames, 8192).encode()) <= 8192
    assert all(frame.isprintable() for frame in report.frames)


def test_a_report_at_all_limits_together_is_under_8_kib() -> None:
    code = f"def {'f' * 300}(n):\n    {'f' * 300}(n - 1) if n else (_ for _ in ()).throw(error)\n"
    scope: dict[str, object] = {"error": type("E" * 500, (Exception,), {})("m" * 9000)}
    exec(compile(code, "file" * 100, "exec"), scope)
    f = scope["f" * 300]
    assert callable(f)

    with pytest.raises(Exception, match="mmm") as caught:
        f(40)

    assert _size(report_of(caught.value)) <= 8192


@given(st.text(alphabet=st.characters(codec=None)), st.integers(4, 200))
def test_stored_text_is_valid_bounded_and_keeps_what_fits(text: str, most: int) -> None:
    stored = storable(text, most)

    assert len(stored.encode()) <= most
    assert "\0" not in stored
    if "\0" not in text and text.isprintable() and len(text.encode(errors="replace")) <= most:
        assert stored == text


@pytest.mark.parametrize("most", range(4, 12))
def test_a_cut_falls_on_a_code_point(most: int) -> None:
    assert storable("☃" * 100, most) == "☃" * ((most - 3) // 3) + "…"
