"""The HTTP interface of the bridge: health, metrics, pages for people, JSON for programs."""

from cmc_notify.web.app import create_app
from cmc_notify.web.server import WebServer
from cmc_notify.web.startup_app import create_startup_app
from cmc_notify.web.status import LiveController, LiveSink, StatusSource

__all__ = [
    "LiveController",
    "LiveSink",
    "StatusSource",
    "WebServer",
    "create_app",
    "create_startup_app",
]
