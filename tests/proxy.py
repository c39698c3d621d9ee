"""A way between a client and PostgreSQL that can be cut, stopped up, or made to lose answers, as networks do."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Listens on a port of its own; `async with Proxy(url) as proxy:`, then connect to `proxy.url`."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._answers_pass = True
        self._open = asyncio.Event()
        self._open.set()
        self.url = ""

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset all connections; new ones may come."""
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    def stop_up(self) -> None:
        """Let nothing pass in either direction, without closing anything: a half-open network."""
        self._open.clear()

    def lose_answers(self) -> None:
        """Pass on what clients say, and lose what the server answers."""
        self._answers_pass = False

    def heal(self) -> None:
        """Everything passes again; what was stopped up arrives late."""
        self._refusing = False
        self._answers_pass = True
        self._open.set()

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
        self.reset()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, to_server)
        self._pairs.add(pair)
        pumps = [
            asyncio.create_task(self._pump(reader, to_server, answers=False)),
            asyncio.create_task(self._pump(from_server, writer, answers=True)),
        ]
        self._pumps.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in pair:
            end.transport.abort()
        self._pairs.discard(pair)
        await asyncio.gather(*pumps, return_exceptions=True)
        self._pumps.difference_update(pumps)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                if self._answers_pass or not answers:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            return  # the other end is gone
