"""Chat services on loopback: each takes what its vendor documents, refuses what that forbids, and keeps the
messages as a reader sees them. Written apart from the presets that they are there to judge.
"""

from cmc_notify.simulator.chat.discord import DiscordMessage, DiscordServer
from cmc_notify.simulator.chat.teams import TeamsCard, TeamsServer

__all__ = ["DiscordMessage", "DiscordServer", "TeamsCard", "TeamsServer"]
