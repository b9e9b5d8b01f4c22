"""A decorator: a store method that has begun runs to its end, also if its caller is cancelled.

Cancelling in the middle of a statement would leave the database connection with an open transaction,
and on SQLite with the only write lock, as long as any cursor of it is referenced.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from cmc_notify.store.engine import Database

P = ParamSpec("P")
T = TypeVar("T")


class _OverDatabase(Protocol):
    _database: Database


S = TypeVar("S", bound=_OverDatabase)


def runs_to_completion(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run the method in its own task; a cancelled caller goes on at once, without its result.

    ``Database.close`` waits for those that still run.
    """

    @wraps(method)
    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(method(self, *args, **kwargs), name=f"store:{method.__name__}")
        self._database.running.add(task)
        task.add_done_callback(self._database.ended)
        return await asyncio.shield(task)

    return run
