"""What a handler returned may be work that has not been done yet: it is awaited, or refused, and never taken for done.

A plain function around an asynchronous one (a decorator's wrapper, a lambda, `functools.partial` of a callable object)
returns a coroutine; an executor's `submit` returns a future. Generators and lazy iterators would have to be consumed,
and nobody says that they should be.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextvars import Context
from itertools import islice
from typing import Final, cast

_COLLECTIONS: Final = frozenset({list, dict, tuple, set, frozenset})
_VALUES: Final = frozenset({bool, int, float, str, bytes, type(None), *_COLLECTIONS})
"""What most handlers return, and what is surely no work itself."""
_LOOKED_THROUGH: Final = 1000
"""Items of a returned collection in which forgotten coroutines are looked for."""


class UnfinishedHandlerError(TypeError):
    """A handler returned a generator or a lazy iterator: nothing of its work was done."""


async def ended(result: object, context: Context) -> object:
    """The value of a handler, once everything that it handed back to be awaited has ended.

    Args:
        result: what the handler returned.
        context: the handler's context variables, for the coroutines that it returned.

    Raises:
        UnfinishedHandlerError: it returned a generator or a lazy iterator. Beside that, whatever the awaited work raises.
    """
    while type(result) not in _VALUES:
        if isinstance(result, Future):
            result = await asyncio.wrap_future(result)
        elif asyncio.isfuture(result):
            result = await result
        elif inspect.isawaitable(result):
            result = await asyncio.get_running_loop().create_task(_awaited(result), context=context)
        else:
            break
    if is_lazy(result):
        _close(result)
        raise UnfinishedHandlerError(
            f"the handler returned a {type(result).__name__}, so none of its work was done: consume it in the handler "
            "and return a value"
        )
    if forgotten := _forgotten_in(result):
        _close(*forgotten)
        raise UnfinishedHandlerError(
            f"the handler returned a {type(result).__name__} with a {type(forgotten[0]).__name__} in it, whose work was "
            "not done: await it in the handler (asyncio.gather) and return values"
        )
    return result


def is_lazy(result: object) -> bool:
    """Whether this is work that is done only as somebody iterates over it, or enters it.

    Generators, whatever iterates in Python's own way (map, enumerate, itertools), asynchronous iterators, and context
    managers that a generator makes. Other iterators, such as a cursor or a file, have done what they are for.
    """
    if isinstance(result, Generator | AsyncIterator):
        return True
    if isinstance(result, Iterator):
        return type(result).__module__ in ("builtins", "itertools")
    # What a function with contextlib's contextmanager or asynccontextmanager returns keeps its generator there.
    return isinstance(getattr(result, "gen", None), Generator | AsyncGenerator)


def _forgotten_in(result: object) -> list[object]:
    if type(result) not in _COLLECTIONS:
        return []
    items = result.values() if isinstance(result, dict) else cast("Iterable[object]", result)
    odd = [one for one in islice(items, _LOOKED_THROUGH) if type(one) not in _VALUES]
    return [one for one in odd if inspect.isawaitable(one) or isinstance(one, Generator)]


def _close(*unfinished: object) -> None:
    # A coroutine that nobody awaits would be warned of, long after and somewhere else.
    for one in unfinished:
        if isinstance(one, Generator | Coroutine):
            one.close()


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable
