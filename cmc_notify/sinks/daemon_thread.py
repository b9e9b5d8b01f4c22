"""Work that blocks, in a thread that nobody has to wait for.

Guarantee: a call that never returns delays neither the loop nor the process's exit. A thread of the loop's
own pool would be waited for at exit.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(call: Callable[[], T], name: str) -> T:
    """What ``call`` returns or raises. Cancelled, it leaves the thread to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        if not done.done():  # else cancelled
            settle()

    def run() -> None:
        settle: Callable[[], None]
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  it is handed to whoever awaits
            raised = error
            settle = lambda: done.set_exception(raised)  # noqa: E731  one of two ends
        else:
            settle = lambda: done.set_result(result)  # noqa: E731  one of two ends
        with suppress(RuntimeError):  # the loop has ended, and with it whoever awaited
            loop.call_soon_threadsafe(tell, settle)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
