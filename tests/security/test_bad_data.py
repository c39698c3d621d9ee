"""F21, I19: whatever a handler returns, raises or decides, and whatever a foreign INSERT hands it, is recorded; the same
worker goes on.

One worker in this process runs all examples: a slot that is lost, an outcome that is not written or a service that fails
shows. JOBPLANE_FAULTS_PROFILE=long tries 20 000 instead of 500.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, NoReturn, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane import (
    Cancel,
    DatabaseSettings,
    Fail,
    Job,
    JobQueue,
    JobStatus,
    Registry,
    Retry,
    Snooze,
    Worker,
    task,
)
from jobplane.events import JobLost, ServiceFailed
from jobplane.settings import WorkerSettings, resolve
from tests.conftest import TEST_PROFILE
from tests.security.support import examples

# Hypothesis minds that random numbers are drawn while it draws: those are the worker's, in its thread.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

T = TypeVar("T")
DEEP: Final = 10_000


class Stage:
    """A worker on a loop of its own, in a thread, and what its handlers are to do."""

    def __init__(self, url: str) -> None:
        self.acts: dict[int, Callable[[], object]] = {}
        self.trouble: list[object] = []
        self._numbers = itertools.count()
        self._settings = resolve(DatabaseSettings, {}, url=url).settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._thread.start()
        self._queue = JobQueue(settings=self._settings)
        self.worker = self.on_loop(self._started())

    def on_loop(self, work: Coroutine[object, object, T]) -> T:
        """Run something where the worker runs."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    def play(self, act: Callable[[], object], *, in_thread: bool) -> Job:
        """The job whose handler does this, ended."""
        number = next(self._numbers)
        self.acts[number] = act
        name = "act_in_thread" if in_thread else "act"

        async def play() -> Job:
            made = await self._queue.enqueue(name, {"number": number}, max_attempts=1)
            return await self._queue.wait(made.id, 30)

        return self.on_loop(play())

    def insert(self, payload: str) -> Job | None:
        """The job of a plain INSERT with this payload, ended; None where PostgreSQL refuses the text."""

        async def insert() -> Job | None:
            connection = await asyncpg.connect(self._settings.url)
            try:
                made = await connection.fetchval(
                    "INSERT INTO control_plane.jobs (type, max_attempts, payload) VALUES ('act', 1, $1) RETURNING id",
                    payload,
                )
            except (asyncpg.PostgresError, UnicodeEncodeError):
                return None
            finally:
                await connection.close()
            return await self._queue.wait(UUID(int=made.int), 30)

        return self.on_loop(insert())

    def check(self) -> None:
        """All slots are free, nothing failed, and an ordinary job still runs, in both colours."""
        for in_thread in (False, True):
            job = self.play(lambda: "fine", in_thread=in_thread)
            assert job.result == "fine"
        assert self.worker.running_jobs() == []
        assert self.trouble == []

    def close(self) -> None:
        """Stop everything."""
        self.on_loop(self.worker.stop(grace=1))
        self.on_loop(self._queue.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _started(self) -> Worker:
        @task
        async def act(number: int) -> object:
            return self.acts[number]()

        @task
        def act_in_thread(number: int) -> object:
            return self.acts[number]()

        settings = resolve(WorkerSettings, {}, **TEST_PROFILE, queues="default:2").settings
        worker = Worker(Registry([act, act_in_thread]), database=self._settings, settings=settings)
        worker.events.subscribe(ServiceFailed, self.trouble.append)
        worker.events.subscribe(JobLost, self.trouble.append)
        await worker.start()
        return worker


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    """A stage; whatever was played on it, it must still stand at the end."""
    made = Stage(database_url)
    yield made
    made.check()
    made.close()


class BrokenError(Exception):
    """Nothing about it can be asked."""

    def __init__(self, how: type[BaseException]) -> None:
        super().__init__()
        self.how = how

    def __str__(self) -> str:
        raise self.how

    def __repr__(self) -> str:
        raise self.how

    def __eq__(self, other: object) -> bool:
        raise self.how

    __hash__ = None  # type: ignore[assignment]


class Broken:
    """A value of which the same is true."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class Liar(dict[str, object]):
    """A dict that does not hold still."""

    def items(self) -> NoReturn:
        raise KeyboardInterrupt

    def __iter__(self) -> NoReturn:
        raise SystemExit(2)


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def _cycle() -> object:
    value: list[object] = []
    value.append({"again": value})
    return value


def _recurse() -> NoReturn:
    _recurse()


ANY_TEXT: Final = (
    st.text(alphabet=st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(["\0", "a\0b", "\ud800", "\udfff\ud800", "\x1b[2J\r\n", "\u2028", "\\u0000", '"', "{}"])
    # 10 MB, made late: what Hypothesis prints of its strategies should stay readable.
    | st.sampled_from("\xe9x\0").map(lambda char: char * (10_000_000 // len(char.encode())))
)  # fmt: skip
SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary()
    | st.sampled_from([math.nan, math.inf, -math.inf, 10**4000, -(2**200), 1e308, Decimal("NaN"), Decimal("1e200000"),
                       b"\xff\xfe", datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), date.min, timedelta.max,
                       timedelta.min, UUID(int=0), object(), print, int, 1j, ..., NotImplemented, range(3), memoryview(b"\xff")])
    # More digits than Python prints, which is why it is made late.
    | st.sampled_from([4299, 4300, 4301, 5000]).map(lambda digits: 10**digits)
)  # fmt: skip
VALUES: Final = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=4) | st.tuples(children) | st.dictionaries(ANY_TEXT | st.integers() | st.none(), children, max_size=4)
    ),
    max_leaves=8,
) | st.builds(_nested, st.sampled_from([60, 64, 65, 500, 990, DEEP])) | st.builds(_cycle) | st.just(Liar(a=1))  # fmt: skip
PLAIN_ERRORS: Final = st.sampled_from([
    ValueError, KeyError, OSError, MemoryError, RecursionError, AssertionError, SystemExit, KeyboardInterrupt, GeneratorExit,
    StopIteration, StopAsyncIteration, asyncio.CancelledError, asyncio.TimeoutError, asyncio.InvalidStateError, BaseException,
])  # fmt: skip
ERRORS: Final = st.recursive(
    st.builds(lambda kind, text: kind(text), PLAIN_ERRORS, ANY_TEXT)
    | st.builds(lambda kind: kind(), PLAIN_ERRORS)
    | st.builds(ValueError, SCALARS)
    | st.builds(
        BrokenError,
        st.sampled_from(
            [RuntimeError, SystemExit, KeyboardInterrupt, RecursionError, asyncio.CancelledError]
        ),
    )
    | st.builds(
        lambda name: type(name, (Exception,), {})("x"),
        st.text(alphabet=st.characters(exclude_characters="\0"), max_size=300),
    )
    | st.just(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")),
    lambda children: st.builds(
        BaseExceptionGroup,
        ANY_TEXT,
        st.lists(children, min_size=1, max_size=3),
    ),
    max_leaves=4,
)
REASONS: Final = ANY_TEXT | SCALARS
DELAYS: Final = SCALARS | st.timedeltas() | st.sampled_from([timedelta.max, timedelta(-1), -1, 0, 1e300])


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise error

    return act


def _returning(value: object) -> Callable[[], object]:
    return lambda: value


def _deciding(kind: type, value: object) -> Callable[[], object]:
    # Only the first time: a job that snoozes for no time would do so for ever.
    values = iter([kind(value)])
    return lambda: next(values, None)


BROKEN_ACTS: Final[list[Callable[[], object]]] = [
    # Made by the handler only: what cannot be asked anything would break the test's own tools first.
    Broken,
    lambda: [Broken()],
    lambda: {"a": Broken()},
    lambda: ValueError(Broken()),
    lambda: Fail(Broken()),  # type: ignore[arg-type]
    lambda: Cancel(Broken()),  # type: ignore[arg-type]
    lambda: Retry(Broken(), Broken()),  # type: ignore[arg-type]
    lambda: Snooze(Broken()),  # type: ignore[arg-type]
]
ACTS: Final = (
    st.builds(_returning, VALUES)
    | st.builds(_raising, ERRORS)
    | st.builds(_deciding, st.sampled_from([Fail, Cancel]), REASONS)
    | st.builds(_deciding, st.just(Retry), DELAYS)
    | st.sampled_from([_recurse, *BROKEN_ACTS])
)  # fmt: skip
BAD_SNOOZES: Final = [
    -1,
    0,
    timedelta(0),
    timedelta.min,
    timedelta.max,
    math.nan,
    math.inf,
    "soon",
    None,
    1e300,
]


@examples(500, 20_000)
@given(act=ACTS, in_thread=st.booleans())
def test_whatever_a_handler_does_is_recorded_and_its_worker_goes_on(
    stage: Stage, act: Callable[[], object], *, in_thread: bool
) -> None:
    job = stage.play(act, in_thread=in_thread)

    assert job.is_terminal
    error = job.last_error or ""
    assert "\0" not in error
    assert len(error.encode()) <= 8192
    refused = ("OutcomeRefused", "result not stored: job/finish")
    assert not error.startswith(refused), "found before a transaction was spent on it"
    assert stage.trouble == []


@pytest.mark.parametrize("raw", [b"not json", b'{"a": "\\ud800"}', b"", b"1e200000"])
def test_a_result_that_only_the_server_finds_out_is_recorded_too(stage: Stage, raw: bytes) -> None:
    job = stage.play(_returning(msgspec.Raw(raw)), in_thread=False)

    assert job.status is JobStatus.COMPLETED, "its work is done"
    assert (job.last_error or "").startswith("result not stored: ")


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("delay", BAD_SNOOZES, ids=lambda value: type(value).__name__)
def test_a_snooze_for_any_time_is_recorded(stage: Stage, delay: object, *, in_thread: bool) -> None:
    act = _deciding(Snooze, delay)

    job = stage.play(act, in_thread=in_thread)

    assert job.is_terminal


NUMBERS: Final = st.sampled_from(
    ["1e200000", "1e100000", "-1e131071", "9" * 5000, "1e-16383", "0.1e-5", "1E400", "NaN", "-0"]
)
TEXTS: Final = (
    st.text(alphabet='{}[]":,\\ue0-9 \n\t"ntfalsrud', max_size=40)
    | st.builds('{{"number": {}}}'.format, NUMBERS)
    | st.builds('{{"number": 1, "other": {}}}'.format, NUMBERS)
    | st.builds(lambda depth: '{"number": ' + "[" * depth + "]" * depth + "}", st.sampled_from([64, 200, 990, 2000, DEEP]))
    | st.builds(lambda text: f'{{"number": "{text}"}}', ANY_TEXT)
    | st.sampled_from(['{"number": "\\u0000"}', '{"number": "\\ud800"}', '{"number": 1, "number": "x"}', "[]", "null", "7", '"x"', "{}"])
)  # fmt: skip


@examples(150, 5_000)
@given(payload=TEXTS)
def test_whatever_a_plain_insert_hands_over_is_refused_by_the_server_or_recorded(
    stage: Stage, payload: str
) -> None:
    job = stage.insert(payload)

    if job is not None:
        assert job.is_terminal
        assert len((job.last_error or "").encode()) <= 8192
    assert stage.trouble == []
