"""Common parts of commands: the config, the store next to a running bridge, names and times."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cmc_notify.errors import ConfigError
from cmc_notify.settings import Loaded, Settings, read_config
from cmc_notify.settings.suggestions import did_you_mean
from cmc_notify.sinks.plugin import SinkPlugin, load_plugins
from cmc_notify.store import Store, open_store

T = TypeVar("T")

_HALF_A_YEAR = 180 * 86400.0


def read_whole_config(config: Path | None) -> tuple[Loaded, Mapping[str, SinkPlugin]]:
    """Return the validated config with its files, and the sink types it can use. Raises ConfigError."""
    plugins = load_plugins()
    types = {name: plugin.settings for name, plugin in plugins.items()}
    return read_config(config, environ=os.environ, sink_types=types), plugins


def read_settings(config: Path | None) -> tuple[Settings, Mapping[str, SinkPlugin]]:
    """Return the validated config and the sink types it can use. Raises ConfigError."""
    loaded, plugins = read_whole_config(config)
    return loaded.settings, plugins


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the store next to a running bridge, for short transactions. Raises StoreError."""
    store = await open_store(settings.store.url.get_secret_value(), clock=time.time, exclusive=False)
    try:
        yield store
    finally:
        await store.close()


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine of one command and return its result."""
    return asyncio.run(work)


def known_name(name: str, names: Collection[str], what: str) -> str:
    """Return ``name`` if it is one of ``names``. Raises ConfigError with a suggestion."""
    if name in names:
        return name
    hint = did_you_mean(name, names) or f"write one of {', '.join(names)}"
    raise ConfigError(f"there is no {what} {name!r}; {hint}")


def for_people(seconds: float | None, settings: Settings) -> str | None:
    """Return a time for people, in the config's timezone."""
    return _written(seconds, settings, "%Y-%m-%d %H:%M:%S %Z")


def in_short(seconds: float | None, settings: Settings) -> str | None:
    """Return a time for a narrow column, in the config's timezone: no seconds, a year only if old."""
    recent = seconds is not None and abs(time.time() - seconds) < _HALF_A_YEAR
    return _written(seconds, settings, "%m-%d %H:%M" if recent else "%Y-%m-%d")


def ago(seconds: float | None) -> str:
    """Return how long ago it was, in a suitable unit; ``never`` for None."""
    if seconds is None:
        return "never"
    past = max(0.0, time.time() - seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if past >= 2 * size:
            return f"{past // size:.0f} {unit} ago"
    return f"{past:.0f} s ago"


def _written(seconds: float | None, settings: Settings, form: str) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, ZoneInfo(settings.timezone)).strftime(form)
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f}"  # a controller can send any number
