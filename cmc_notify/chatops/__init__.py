"""What people do from chat: cancel a job, acknowledge a failure, silence a job, and ask how things are.

A press comes in by Socket Mode (``socket``) or as a signed request (``door``), is read strictly
(``reading``), judged (``deciding``, ``people``), done (``acting``), told (``speaking``) and written down
(``audit``); ``service`` takes it through. A command is answered by ``commands``.
"""

from cmc_notify.chatops.apps import App
from cmc_notify.chatops.commands import Present
from cmc_notify.chatops.payloads import Unreadable, read_form, read_json
from cmc_notify.chatops.service import ChatOps

__all__ = ["App", "ChatOps", "Present", "Unreadable", "read_form", "read_json"]
