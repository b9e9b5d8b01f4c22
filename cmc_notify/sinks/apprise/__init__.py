"""The apprise sink: any of the hundred services that Apprise knows, each by its Apprise URL.

What each file is about: ``settings`` the config, ``addresses`` what a URL means to Apprise, ``wording`` a
message within one service's limits, ``hearing`` what became of a send, ``sink`` what comes of it.

Guarantee: at least once for each URL; one that has taken the message is not told again. Apprise says only
yes or no, so that what was lost on the way can't be looked for: a repeat says that it may be one.
"""

from cmc_notify.sinks.apprise.settings import AppriseSettings
from cmc_notify.sinks.apprise.sink import AppriseSink, build
from cmc_notify.sinks.plugin import SinkPlugin

__all__ = ["PLUGIN", "AppriseSettings", "AppriseSink"]

PLUGIN = SinkPlugin(settings=AppriseSettings, build=build, extensions=("subject", "txt"))
