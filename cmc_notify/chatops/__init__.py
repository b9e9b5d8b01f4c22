"""Actions from chat: cancel a job, acknowledge a failure, silence a job, and ask for the status.

A press arrives by Socket Mode (``socket_mode``) or as a signed request (``signature_check``). It is read
strictly (``payloads``), checked (``permissions``, ``people``), performed (``button_actions``), answered
(``replies``) and recorded (``audit``); ``service`` calls each of them in turn. ``commands`` replies to a
slash command.
"""

from cmc_notify.chatops.apps import App
from cmc_notify.chatops.commands import CommandContext
from cmc_notify.chatops.payloads import UnreadablePayload, read_form, read_json
from cmc_notify.chatops.service import ChatOps

__all__ = ["App", "ChatOps", "CommandContext", "UnreadablePayload", "read_form", "read_json"]
