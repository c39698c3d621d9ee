"""What is said of a value that did not come back as it was given: where and in which way, never the value itself."""

from __future__ import annotations

import dataclasses
from enum import Flag, auto


class Leeway(Flag):
    """Forms of a value that an annotation may turn into what it asks for, without anybody being surprised."""

    NONE = 0
    ARRAYS = auto()
    """A tuple for a list, a list for a set."""
    TEXTS = auto()
    """The text of a time, a UUID, a secret and the like."""
    ALL = ARRAYS | TEXTS


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The first place where what came back is not what was given.

    Attributes:
        place: the path to it, such as `.address.lines[2]`; empty for the value itself.
        reason: what differs, without either value: arguments may be private.
    """

    place: str
    reason: str

    def under(self, place: str) -> Difference:
        """The same difference, seen from one level further out."""
        return Difference(place + self.place, self.reason)


class MisfitError(ValueError):
    """JSON does not stand for a value of the annotation."""


class UnequalError(ValueError):
    """A value does not come back as it was."""

    def __init__(self, found: Difference) -> None:
        super().__init__(found.reason)
        self.difference = found


def kinds(given: object, back: object) -> Difference:
    """Another kind of value came back, or another value of the same kind."""
    if type(given) is type(back):
        return changed(given)
    return Difference("", f"a {kind_of(given)} that would arrive as a {kind_of(back)}")


def changed(given: object) -> Difference:
    """The same kind of value came back, and another one."""
    return Difference("", f"a {kind_of(given)} that would arrive changed")


def kind_of(value: object) -> str:
    """How errors name what a value is."""
    return type(value).__name__


def item_place(key: object) -> str:
    """The place of an item in a mapping."""
    # The key of a mapping may be private: its place is enough where it is no identifier.
    return f".{key}" if isinstance(key, str) and key.isidentifier() and len(key) <= 40 else "[...]"
