"""A bridge from its start to the signal that ends it. A config read during the run never ends it."""

import asyncio
import signal
from collections.abc import Callable

import structlog

from cmc_notify.app.bridge import Bridge, log_refused
from cmc_notify.app.factories import Plugins
from cmc_notify.app.secret_rotation import SecretRotation
from cmc_notify.settings import Loaded

_log = structlog.get_logger(__name__)

CHECK_EVERY = 30.0
"""Seconds between two checks of the files that the config names."""


async def run(
    loaded: Loaded,
    plugins: Plugins,
    *,
    reread: Callable[[], Loaded],
    check_every: float = CHECK_EVERY,
) -> None:
    """Run the bridge until SIGTERM or SIGINT; SIGHUP reads the config again (``reread``).

    A secret whose file changes is used without a signal; an edited config file is not.
    """
    bridge = Bridge(loaded.settings, plugins)
    rotation = SecretRotation(loaded)
    ended, hung_up = _listen_to_signals()
    starting = asyncio.create_task(bridge.start())
    try:
        while await _next_turn(starting, ended, hung_up, within=check_every):
            if hung_up.is_set():
                hung_up.clear()
                rotation = await _reload(bridge, reread, rotation)
            else:
                rotation = await _reload_rotated(bridge, rotation)
    finally:
        await _stop(bridge, starting)


def _listen_to_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return two events: SIGTERM or SIGINT set the first, SIGHUP sets the second."""
    loop = asyncio.get_running_loop()
    ended, hung_up = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    return ended, hung_up


async def _next_turn(
    starting: asyncio.Task[None], ended: asyncio.Event, hung_up: asyncio.Event, *, within: float
) -> bool:
    """Wait for a signal or a time-out; False at the end. A start that fails raises its error."""
    signals = [asyncio.create_task(event.wait()) for event in (ended, hung_up)]
    try:
        waited = [*signals, starting] if not starting.done() else signals
        await asyncio.wait(waited, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in signals:
            task.cancel()
    if ended.is_set():
        return False
    if starting.done():
        starting.result()
    return True


async def _stop(bridge: Bridge, starting: asyncio.Task[None]) -> None:
    """Stop the bridge, or cancel its start, which then stops the bridge."""
    if starting.done():
        if not starting.cancelled() and starting.exception() is None:
            await bridge.stop()
        return
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


async def _reload_rotated(bridge: Bridge, rotation: SecretRotation) -> SecretRotation:
    """Reload if secrets were rotated."""
    if not await rotation.changed():
        return rotation
    return await _reload(bridge, rotation.loaded.reread_files, rotation)


async def _reload(bridge: Bridge, read: Callable[[], Loaded], rotation: SecretRotation) -> SecretRotation:
    """Use the config that is read; if it is not valid, keep the present one."""
    try:
        loaded = await asyncio.to_thread(read)
        await bridge.reload(loaded.settings)
    except Exception as error:  # noqa: BLE001  an error in a new config or a plugin must not end the bridge
        log_refused(error)
    else:
        return SecretRotation(loaded)
    return rotation
