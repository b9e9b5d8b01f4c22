"""Every type of sink, by name."""

from support.sink_readers.base import Medium
from support.sink_readers.chat import AppriseGotify, AppriseJson, Discord, SlackBot, SlackIncoming, Teams
from support.sink_readers.plain import Console, Mail, Webhook
from support.sink_readers.tickets import Ticket
from support.sink_readers.web_page import Page
from support.ticket_services import PLACES

MEDIA: dict[str, type[Medium]] = {
    "page": Page,
    "console": Console,
    "webhook": Webhook,
    "email": Mail,
    "slack bot": SlackBot,
    "slack incoming": SlackIncoming,
    "apprise with files": AppriseJson,
    "apprise without files": AppriseGotify,
    "discord": Discord,
    "teams": Teams,
    **{name: type(name, (Ticket,), {"preset": name}) for name in PLACES},
}
