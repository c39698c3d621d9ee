"""A way between clients and PostgreSQL on which everything may go wrong that goes wrong on networks.

Beside what tests/proxy.py does (cut, reset, stop up): an orderly end, one-way holes, latency and jitter, a low rate,
an end after so many bytes, and losing the answer to a chosen statement after the server has committed it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from tests.faults.wire import Answers, Questions

PIECE: Final = 16384
"""Bytes that are passed on at once."""


class End(Enum):
    """How a connection ends."""

    RESET = "RST"
    FINISH = "FIN"


@dataclass(slots=True)
class Weather:
    """What befalls every byte, of old and of new connections."""

    up: bool = True
    """Whether what clients say arrives."""
    down: bool = True
    """Whether what the server answers arrives."""
    latency: float = 0.0
    """Seconds for each piece, each way."""
    jitter: float = 0.0
    """Seconds by which it may be more or less; never out of order."""
    rate: float | None = None
    """Bytes per second, each way and connection; None without a limit."""


class FaultProxy:
    """Listens on a port of its own; `async with FaultProxy(url, run.random) as proxy:`, then connect to `proxy.url`."""

    def __init__(self, url: str, chance: random.Random | None = None) -> None:
        self._target = urlsplit(url)
        self._random = chance or random.Random(0)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._cut: Callable[[random.Random], tuple[int, End]] | None = None
        self.weather = Weather()
        self.changed = asyncio.Event()
        self.swallow: tuple[str, int] | None = None
        """A text and how many statements with it still lose their answers."""
        self._then_cut = False
        self.swallowed = 0
        """Answers lost so far."""
        self.ended = 0
        """Connections that were ended after so many bytes."""
        self.url = ""

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._refusing = True
        self.end_all(End.RESET)

    def end_all(self, how: End = End.RESET) -> None:
        """End all connections; new ones may come."""
        for link in list(self._links):
            link.end(how)

    def blackhole(self, *, up: bool = True, down: bool = True) -> None:
        """Let nothing pass that way, without closing anything; nothing of it arrives later, either."""
        self.change(Weather(up=not up, down=not down))

    def change(self, weather: Weather) -> None:
        """Another weather from now on."""
        self.weather = weather
        self.changed.set()
        self.changed = asyncio.Event()

    def open_since_before(self, moment: float) -> int:
        """Connections that were opened before `moment` (time.monotonic) and that no side has ended."""
        return sum(link.since < moment for link in self._links)

    def cut_after(self, draw: Callable[[random.Random], tuple[int, End]] | None) -> None:
        """End each connection of now and later after a number of bytes that is drawn for it; None: no more."""
        self._cut = draw
        for link in self._links:
            self._draw(link)

    def lose_answers(self, text: str, times: int = 1, *, then_cut: bool = False) -> None:
        """The next statements that contain this text are run and committed, and their client hears a reset.

        With `then_cut` nobody gets through from that moment on, until it heals.
        """
        self.swallow = (text, times)
        self._then_cut = then_cut

    def lost(self, link: _Link) -> None:
        """An answer was lost."""
        self.swallowed += 1
        if self._then_cut:
            self.cut()
        link.end(End.RESET)

    def heal(self) -> None:
        """Everything passes again. What fell into a hole is gone: its connections end, as the kernel would end them."""
        holes = not (self.weather.up and self.weather.down)
        self._refusing = False
        self._cut = None
        self.swallow = None
        self.change(Weather())
        for link in self._links:
            link.left = None
        if holes:
            self.end_all(End.RESET)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user, _, _ = self._target.netloc.rpartition("@")
        self.url = urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{port}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.end_all(End.RESET)
        await asyncio.gather(
            *self._tasks, return_exceptions=True
        )  # not cancelled: the server would call that an error

    def _draw(self, link: _Link) -> None:
        if self._cut is not None:
            link.left, link.how = self._cut(self._random)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refusing:
            writer.transport.abort()
            return
        try:
            answers, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, answers, to_server)
        self._links.add(link)
        self._draw(link)
        try:
            await link.serve()
        finally:
            self._links.discard(link)


class _Link:
    """One connection: two pumps."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._answers, self._to_server = answers, to_server
        self._questions = Questions()
        self._losing: Answers | None = None
        self.since = time.monotonic()
        self.left: int | None = None
        """Bytes until the end, if it was decided."""
        self.how = End.RESET

    def end(self, how: End) -> None:
        """End both halves."""
        for writer in (self._writer, self._to_server):
            if how is End.RESET:
                writer.transport.abort()
            else:
                writer.close()

    async def serve(self) -> None:
        """Until one side ends it."""
        for writer in (self._writer, self._to_server):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.end(self.how)

    async def _ask(self) -> None:
        with suppress(OSError):
            while data := await self._reader.read(PIECE):
                self._listen_to(self._questions.feed(data))
                if not await self._passes(data, self._to_server, lambda: self._proxy.weather.up):
                    return

    async def _answer(self) -> None:
        with suppress(OSError):
            while data := await self._answers.read(PIECE):
                if self._losing is not None:
                    if self._losing.feed(data):
                        self._proxy.lost(self)
                        return
                elif not await self._passes(data, self._writer, lambda: self._proxy.weather.down):
                    return

    def _listen_to(self, statements: list[str]) -> None:
        if self._proxy.swallow is None:
            return
        text, times = self._proxy.swallow
        for statement in statements:
            if text in statement and times > 0:
                self._losing = Answers()
                self._proxy.swallow = (text, times - 1)
                return

    async def _passes(self, data: bytes, to: asyncio.StreamWriter, is_open: Callable[[], bool]) -> bool:
        weather = self._proxy.weather
        delay = weather.latency + self._proxy._random.uniform(-weather.jitter, weather.jitter)
        if weather.rate is not None:
            delay = max(delay, 0.0) + len(data) / weather.rate
        if delay > 0:
            await asyncio.sleep(delay)
        if not is_open():
            return True  # into the hole
        if self.left is not None:
            data, self.left = data[: self.left], self.left - len(data)
        to.write(data)
        await to.drain()
        if self.left is not None and self.left <= 0:
            self._proxy.ended += 1
            self.end(self.how)
            return False
        return True
