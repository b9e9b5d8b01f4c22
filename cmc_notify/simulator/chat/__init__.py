"""Chat services on loopback: each accepts what its vendor documents, refuses all else, and keeps the
messages as a reader sees them. They share no code with the presets, because they test them.
"""

from cmc_notify.simulator.chat.discord import DiscordMessage, DiscordServer
from cmc_notify.simulator.chat.teams import TeamsCard, TeamsServer

__all__ = ["DiscordMessage", "DiscordServer", "TeamsCard", "TeamsServer"]
