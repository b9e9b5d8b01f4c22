"""Each ticket preset with the service that it talks to, for tests that are the same for all of them."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from cmc_notify.ports import Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.tickets import (
    AlertmanagerServer,
    JiraServer,
    OpsgenieServer,
    PagerDutyServer,
    ServiceFault,
    ServiceNowServer,
    TicketServer,
)
from cmc_notify.sinks.webhook import PLUGIN

SECRET = "s3cr3ttoken"
BASIC = {"method": "basic", "username": "cmc", "password": SECRET}
AUTHORIZATION = f"Basic {b64encode(f'cmc:{SECRET}'.encode()).decode()}"


RENDERER = Renderer()
"""One for all, since it takes longer to compile templates than to send."""


class TicketPlace:
    """One preset and its service."""

    preset: str
    create: str
    """The operation of the service that opens a ticket."""
    secret = SECRET
    """As it goes over the wire."""
    updates = 2
    """How much a ticket's history grows by a failure more and by an update that tells nobody anew."""
    options: dict[str, Any]

    def __init__(self, desk: TicketServer) -> None:
        self.desk = desk
        self.options = {}

    def given(self) -> dict[str, Any]:
        """What the config says, for the service as it is now."""
        return {"url": self.desk.url, "auth": BASIC, "options": self.options}

    def sink(self, renderer: Any = None, **more: Any) -> Sink:
        """The sink as the application builds it."""
        written = {"type": "webhook", "preset": self.preset, "timeout": 5, **self.given(), **more}
        self.settings = settings_class(PLUGIN.settings, written).model_validate(written)
        return PLUGIN.build("tickets", self.settings, renderer or RENDERER)

    def refuse_credentials(self) -> None:
        """Let the next write be told that the credentials are wrong, by a service that repeats them."""
        self.desk.fail_next(
            self.create, ServiceFault("respond", status=401, body=f"{self.secret} is not known")
        )


class PagerDutyPlace(TicketPlace):
    """An integration key in the body; there is no quiet update."""

    preset = "pagerduty"
    create = "event"
    secret = "s3cr3t0123456789abcdef0123456789"
    updates = 1

    def __init__(self) -> None:
        super().__init__(PagerDutyServer(routing_key=self.secret))

    def given(self) -> dict[str, Any]:
        """The address of the events API and the key."""
        return {"url": self.desk.url, "options": {"routing_key": self.secret}}


class OpsgeniePlace(TicketPlace):
    """A key of its own kind in the header."""

    preset = "opsgenie"
    create = "create"

    def __init__(self) -> None:
        super().__init__(OpsgenieServer(authorization=f"GenieKey {SECRET}"))
        self.options = {"api_key": SECRET, "responders": [{"type": "team", "name": "NOC"}]}

    def given(self) -> dict[str, Any]:
        """The API key among the options."""
        return {"url": self.desk.url, "options": self.options}


class AlertmanagerPlace(TicketPlace):
    """Behind a proxy that asks for a password."""

    preset = "alertmanager"
    create = "alerts"

    def __init__(self) -> None:
        super().__init__(AlertmanagerServer(authorization=AUTHORIZATION))


class ServiceNowPlace(TicketPlace):
    """Event Management."""

    preset = "servicenow"
    create = "events"

    def __init__(self) -> None:
        super().__init__(ServiceNowServer(authorization=AUTHORIZATION))


class ServiceNowIncidentPlace(TicketPlace):
    """The incident table."""

    preset = "servicenow-incident"
    create = "create"

    def __init__(self) -> None:
        super().__init__(ServiceNowServer(authorization=AUTHORIZATION))


class JiraPlace(TicketPlace):
    """A project of a site."""

    preset = "jira"
    create = "create"

    def __init__(self) -> None:
        super().__init__(JiraServer(authorization=AUTHORIZATION))
        self.options = {"project": "NET"}


PLACES: dict[str, Callable[[], TicketPlace]] = {
    place.preset: place
    for place in (
        PagerDutyPlace,
        OpsgeniePlace,
        AlertmanagerPlace,
        ServiceNowPlace,
        ServiceNowIncidentPlace,
        JiraPlace,
    )
}
