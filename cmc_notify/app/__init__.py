"""The composition root: the only place that names concrete adapters and connects them."""

from cmc_notify.app.bridge import Bridge
from cmc_notify.app.factories import Plugins, make_renderer, make_sink
from cmc_notify.app.lifecycle import run

__all__ = ["Bridge", "Plugins", "make_renderer", "make_sink", "run"]
