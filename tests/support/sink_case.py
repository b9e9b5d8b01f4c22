"""What every case of the sink contract has in common: a sink, and a server that fails as it is told."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Unclear
from cmc_notify.ports import Message, Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.sinks.plugin import load_plugins

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]
TIMEOUT = 0.4
OUTCOMES: dict[str, type[SendOutcome]] = {
    "busy": RetryLater,
    "fault": RetryLater,
    "credentials": Blocked,
    "gone": Blocked,
    "refused": Rejected,
    "lost": Unclear,
    "silent": Unclear,
}
"""The outcome of each fault, for every sink with a network receiver."""


class SinkCase(ABC):
    """One configured sink together with its receiver."""

    sink_type: ClassVar[str]
    """The sink type, as the registry names it."""
    preset: ClassVar[str | None] = None
    outcomes: ClassVar[Mapping[str, type[SendOutcome]]] = OUTCOMES
    """The faults that this receiver can have, each with its outcome."""
    connects: ClassVar[bool] = True
    """True if it opens network connections."""
    passes_retry_after: ClassVar[bool] = True
    probes_receiver: ClassVar[bool] = True
    takes_proxy: ClassVar[bool] = True
    secret: str = "s3cr3t"
    """The beginning of each secret in ``given``."""
    renderer = Renderer()
    echo: str
    """The words of an indiscreet receiver: every secret that it was given."""

    @abstractmethod
    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """Start the receiver; ``stack`` ends it."""

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Return the config, secrets included, for the running receiver."""

    @abstractmethod
    def fail_next(self, fault: str) -> None:
        """Let the next send meet this fault."""

    @abstractmethod
    def accepted(self) -> int:
        """Return how many messages the receiver accepted."""

    @abstractmethod
    async def request_arrived(self) -> None:
        """Return once the receiver has read a message."""

    def build(self, **more: Any) -> Sink:
        """Build the sink as the application does."""
        plugin = load_plugins()[self.sink_type]
        written = {"type": self.sink_type, **self.given(), "timeout": TIMEOUT, **more}
        self.settings = settings_class(plugin.settings, written).model_validate(written)
        return plugin.build("sink", self.settings, self.renderer)
