"""The email sink. Guarantee: at least once for each recipient, always under the same Message-ID.

The files: ``settings`` the config, ``composer`` the message, ``thread`` the headers that keep a job's mails
together, ``table`` its failures for a spreadsheet, ``smtp_session`` the session with the mail server,
``reply_codes`` the outcome of its replies, ``sink`` the outcome of a mail.
"""

from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.sink import EmailSink, build
from cmc_notify.sinks.plugin import SinkPlugin

__all__ = ["PLUGIN", "EmailSettings", "EmailSink"]

PLUGIN = SinkPlugin(settings=EmailSettings, build=build, extensions=("subject", "topic", "txt", "html"))
