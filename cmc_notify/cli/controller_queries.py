"""Requests to controllers, for ``jobs`` and ``features``."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from cmc_notify.cli.common import known_name
from cmc_notify.controller import Controller
from cmc_notify.core.model import Feature, Names
from cmc_notify.errors import ConfigError
from cmc_notify.settings import Settings

T = TypeVar("T")


def chosen_controller(settings: Settings, name: str | None) -> str:
    """Return the named controller, or the only one. Raises ConfigError if several exist and none is named."""
    if name is not None:
        return known_name(name, settings.controllers, "controller")
    if len(settings.controllers) > 1:
        raise ConfigError(
            f"there are several controllers; write --controller {'|'.join(settings.controllers)}"
        )
    return next(iter(settings.controllers))


async def query_controller(settings: Settings, name: str, query: Callable[[Controller], Awaitable[T]]) -> T:
    """Return the result of a query to one controller. Raises ControllerError."""
    async with Controller(name, settings.controllers[name]) as controller:
        return await query(controller)


async def query_controllers(
    settings: Settings, name: str | None, query: Callable[[Controller], Awaitable[T]]
) -> Sequence[tuple[str, T]]:
    """Return the results of all controllers, or of the named one. Raises ControllerError if any fails."""
    names = list(settings.controllers) if name is None else [chosen_controller(settings, name)]
    responses = await asyncio.gather(*(query_controller(settings, each, query) for each in names))
    return list(zip(names, responses, strict=True))


def names_of(features: Sequence[Feature], hosts: dict[str, str] | None = None) -> Names:
    """Return the names that people use on one controller."""
    return Names(features={feature.id: feature for feature in features}, appliances=hosts or {})


async def host_names(controller: Controller) -> dict[str, str]:
    """Return host names by serial; empty if the inventory can't be read."""
    return {one.serial: one.hostname for one in await controller.list_appliances() if one.hostname}
