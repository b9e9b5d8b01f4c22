"""The email sink. Guarantee: at least once for each recipient, always under the same Message-ID.

What each file is about: ``settings`` the config, ``composing`` the message, ``thread`` what keeps a
job's mails together, ``table`` its
failures for a spreadsheet, ``transfer`` the talk with the
mail server, ``sink`` what comes of it.
"""

from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.sink import EmailSink, build
from cmc_notify.sinks.plugin import SinkPlugin

__all__ = ["PLUGIN", "EmailSettings", "EmailSink"]

PLUGIN = SinkPlugin(settings=EmailSettings, build=build, extensions=("subject", "topic", "txt", "html"))
