"""The presets of the webhook sink, each with the service of its vendor."""

from contextlib import AsyncExitStack
from typing import Any

from cmc_notify.simulator.chat import DiscordServer, TeamsServer
from cmc_notify.simulator.tickets import ServiceFault, TicketServer
from support.sink_case import SinkCase, StartPostOffice
from support.ticket_services import PLACES


class VendorCase(SinkCase):
    """A webhook with a preset and its vendor's service."""

    sink_type = "webhook"
    create: str
    """The service's operation that takes a new message or opens a ticket."""
    server: TicketServer

    def fail_next(self, fault: str) -> None:
        """By status, at the request that creates something."""
        faults = {
            "busy": ServiceFault("respond", status=429, body=self.echo, headers=(("Retry-After", "7"),)),
            "fault": ServiceFault("respond", status=503, body=self.echo),
            "credentials": ServiceFault("respond", status=401, body=self.echo),
            "gone": ServiceFault("respond", status=410, body=self.echo),
            "refused": ServiceFault("respond", status=400, body=self.echo),
            "lost": ServiceFault("drop"),
            "silent": ServiceFault("hang"),
        }
        self.server.fail_next(self.create, faults[fault])

    async def request_arrived(self) -> None:
        """The first request that would create something."""
        await self.server.wait(lambda seen: any(name == self.create for name, _ in seen.calls))


class TicketCase(VendorCase):
    """A ticket preset."""

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """The vendor's ticket service."""
        del start_post_office
        assert self.preset is not None
        self.service = PLACES[self.preset]()
        self.create = self.service.create
        self.echo = f"{self.service.secret} of Y21jOnMzY3IzdHRva2Vu is not known"
        self.server = await stack.enter_async_context(self.service.desk)

    def given(self) -> dict[str, Any]:
        """The preset's settings, with its secret."""
        return {"preset": self.preset, **self.service.given()}

    def accepted(self) -> int:
        """Changes that the service made."""
        return len(self.server.applied)


class DiscordCase(VendorCase):
    """A channel's webhook, whose address is the secret."""

    preset = "discord"
    create = "execute"
    secret = "simulated-secret"
    echo = "no webhook at /api/webhooks/223704706495545344/simulated-secret"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A channel."""
        del start_post_office
        self.server: DiscordServer = await stack.enter_async_context(DiscordServer())

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"preset": self.preset, "url": self.server.webhook_url}

    def accepted(self) -> int:
        """Messages in the channel."""
        return len(self.server.messages)


class TeamsCase(VendorCase):
    """A workflow, whose address is the secret."""

    preset = "teams"
    create = "card"
    secret = "simulated-secret"
    echo = "no workflow at /workflows/simulated-secret/triggers/manual/paths/invoke"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A workflow."""
        del start_post_office
        self.server: TeamsServer = await stack.enter_async_context(TeamsServer())

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"preset": self.preset, "url": self.server.webhook_url}

    def accepted(self) -> int:
        """Cards in the channel."""
        return len(self.server.cards)
