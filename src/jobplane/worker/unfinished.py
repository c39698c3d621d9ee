"""What a handler returned may be work that has not been done yet: it is awaited, or refused, and never taken for done.

A plain function around an asynchronous one (a decorator's wrapper, a lambda, `functools.partial` of a callable object)
returns a coroutine; an executor's `submit` returns a future. Generators and lazy iterators would have to be consumed,
and nobody says that they should be.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Generator
from concurrent.futures import Future
from contextvars import Context
from itertools import chain, islice, starmap, takewhile
from typing import Final

LAZY: Final = (Generator, AsyncIterator, map, filter, zip, chain, islice, starmap, takewhile)
"""Work that is done only as somebody iterates over it."""
_VALUES: Final = frozenset({bool, int, float, str, bytes, list, dict, tuple})
"""What most handlers return, and what is surely none of that."""


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
    if isinstance(result, LAZY):
        if isinstance(result, Generator):
            result.close()
        raise UnfinishedHandlerError(
            f"the handler returned a {type(result).__name__}, so none of its work was done: consume it in the handler "
            "and return a value"
        )
    return result


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable
