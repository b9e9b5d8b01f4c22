"""The rules by which one poll's changes become notifications."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route


class NotifyRules(Struct, frozen=True, kw_only=True):
    """The config's routes and sinks, and what is removed from error texts."""

    routes: Sequence[Route]
    sinks: Mapping[str, SinkProfile]
    redact: Sequence[re.Pattern[str]] = ()
