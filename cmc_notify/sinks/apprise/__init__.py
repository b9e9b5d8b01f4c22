"""The apprise sink: any of the hundred services of Apprise, each by its Apprise URL.

The files: ``settings`` the config, ``addresses`` the URLs, ``message_text`` a message within one service's
limits, ``log_capture`` the outcome of a send, ``sink`` the outcome of a message.

Guarantee: at least once for each URL; a service that has accepted the message does not get it again. Apprise
returns only yes or no, so a lost message can't be looked for: a repeat says that it may be one.
"""

from cmc_notify.sinks.apprise.settings import AppriseSettings
from cmc_notify.sinks.apprise.sink import AppriseSink, build
from cmc_notify.sinks.plugin import SinkPlugin

__all__ = ["PLUGIN", "AppriseSettings", "AppriseSink"]

PLUGIN = SinkPlugin(settings=AppriseSettings, build=build, extensions=("subject", "txt"))
