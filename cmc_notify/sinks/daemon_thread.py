"""Blocking calls in daemon threads.

Guarantee: a call that never returns delays neither the loop nor the process's exit. Threads of the loop's
own pool do delay the exit.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(call: Callable[[], T], name: str) -> T:
    """Return what ``call`` returns, or raise what it raises. Cancelling does not stop the thread."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        if not done.done():  # otherwise cancelled
            settle()

    def run() -> None:
        settle: Callable[[], None]
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  the caller gets it
            raised = error
            settle = lambda: done.set_exception(raised)  # noqa: E731  one of two ends
        else:
            settle = lambda: done.set_result(result)  # noqa: E731  one of two ends
        with suppress(RuntimeError):  # the loop has ended, and the caller with it
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
