"""The config: its keys and how they are read. :func:`load` returns frozen :class:`Settings`."""

from cmc_notify.settings.http import HttpSettings
from cmc_notify.settings.loader import Loaded, find_config, load, read_config
from cmc_notify.settings.root import LogSettings, Settings, StoreSettings
from cmc_notify.settings.routes import MatchSettings, RouteSettings

__all__ = [
    "HttpSettings",
    "Loaded",
    "LogSettings",
    "MatchSettings",
    "RouteSettings",
    "Settings",
    "StoreSettings",
    "find_config",
    "load",
    "read_config",
]
