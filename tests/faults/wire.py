"""As much of PostgreSQL's wire protocol as is needed to know which statement runs, and when its answer is complete."""

from __future__ import annotations

from typing import Final

STARTUP_CODES: Final = {80877103, 80877104}
"""SSLRequest and GSSENCRequest: what follows them is another message without a type."""


COPY_DONE: Final = "CopyDone"
"""The end of what COPY writes, as a statement: what comes after it answers the whole."""


class Questions:
    """What a client says, byte by byte, as the texts of the statements that it runs."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False
        self._prepared: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[str]:
        """The statements whose run was asked for in these bytes."""
        self._buffer += data
        run: list[str] = []
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"Q":
                run.append(body.rstrip(b"\0").decode(errors="replace"))
            elif kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text.decode(errors="replace")
            elif kind == b"B":
                _, name, _ = body.split(b"\0", 2)
                run.append(self._prepared.get(name, ""))
            elif kind == b"c":
                run.append(COPY_DONE)
        return run

    def _next(self) -> tuple[bytes, bytes] | None:
        typed = 1 if self._started else 0
        if len(self._buffer) < typed + 4:
            return None
        length = int.from_bytes(self._buffer[typed : typed + 4], "big")
        if len(self._buffer) < typed + length:
            return None
        kind = bytes(self._buffer[:typed])
        body = bytes(self._buffer[typed + 4 : typed + length])
        del self._buffer[: typed + length]
        if not typed:
            self._started = int.from_bytes(body[:4], "big") not in STARTUP_CODES
        return kind, body


class Answers:
    """What a server says to one statement, until it is ready for the next: then it has committed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bool:
        """Whether the answer is complete."""
        self._buffer += data
        while len(self._buffer) >= 5:
            length = int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < 1 + length:
                return False
            if self._buffer[0:1] == b"Z":
                return True
            del self._buffer[: 1 + length]
        return False
