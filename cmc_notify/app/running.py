"""A bridge from its start to a signal that ends it. Guarantee: no config read on the way can end it."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import structlog

from cmc_notify.app.bridge import Bridge
from cmc_notify.app.making import Plugins
from cmc_notify.errors import ConfigError
from cmc_notify.settings import Settings

_log = structlog.get_logger(__name__)


async def run(
    settings: Settings,
    plugins: Plugins,
    *,
    reread: Callable[[], Settings],
    started: Callable[[Bridge], None] = lambda _bridge: None,
) -> None:
    """The bridge until SIGTERM or SIGINT; SIGHUP reads the config again (``reread``)."""
    bridge = Bridge(settings, plugins)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    hung_up = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    if not await _first_of(asyncio.create_task(bridge.start()), ended):
        return
    started(bridge)
    try:
        while not ended.is_set():
            await _first_of(asyncio.create_task(hung_up.wait()), ended)
            if hung_up.is_set() and not ended.is_set():
                hung_up.clear()
                await _reload(bridge, reread)
    finally:
        await bridge.stop()


async def _first_of(task: asyncio.Task[Any], ended: asyncio.Event) -> bool:
    """Wait for the task and raise its error, unless the end comes first: then cancel it, and return False."""
    end = asyncio.create_task(ended.wait())
    await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
    end.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


async def _reload(bridge: Bridge, reread: Callable[[], Settings]) -> None:
    try:
        await bridge.reload(await asyncio.to_thread(reread))
    except ConfigError as error:
        _log.error("bridge.reload_refused", problems=list(error.problems))
    except Exception as error:  # noqa: BLE001  a new config, or a plugin's fault, must not end what runs
        _log.exception("bridge.reload_refused", problems=[f"{type(error).__name__}: {error}"])
