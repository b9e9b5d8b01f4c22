"""Each ticket preset with the service that it talks to, for tests that are the same for all of them."""

from collections.abc import Callable
from typing import Any

from cmc_notify.ports import Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import chosen
from cmc_notify.simulator.tickets import Desk, PagerDutyDesk, Trouble
from cmc_notify.sinks.webhook import PLUGIN


class TicketPlace:
    """One preset and its service. ``create`` and ``amend`` are the service's names for what writes."""

    preset: str
    create: str
    secret = "s3cr3ttoken"
    """As it goes over the wire."""
    quiet_update = True
    """Whether an update that tells nobody anew reaches the ticket."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def given(self) -> dict[str, Any]:
        """What the config says, for the service as it is now."""
        raise NotImplementedError

    def sink(self, renderer: Any = None, **more: Any) -> Sink:
        """The sink as the application builds it."""
        written = {"type": "webhook", "preset": self.preset, "timeout": 5, **self.given(), **more}
        self.settings = chosen(PLUGIN.settings, written).model_validate(written)
        return PLUGIN.build("tickets", self.settings, renderer or Renderer())

    def refuse_credentials(self) -> None:
        """Let the next write be told that the credentials are wrong, by a service that repeats them."""
        self.desk.fail_next(self.create, Trouble("answer", status=401, body=f"{self.secret} is not known"))


class PagerDutyPlace(TicketPlace):
    """An integration key in the body."""

    preset = "pagerduty"
    create = "event"
    secret = "s3cr3t0123456789abcdef0123456789"
    quiet_update = False

    def __init__(self) -> None:
        super().__init__(PagerDutyDesk(routing_key=self.secret))

    def given(self) -> dict[str, Any]:
        """The address of the events API and the key."""
        return {"url": self.desk.url, "options": {"routing_key": self.secret}}


PLACES: dict[str, Callable[[], TicketPlace]] = {
    "pagerduty": PagerDutyPlace,
}
