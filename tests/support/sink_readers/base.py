"""A sink of one type, its server, and all that a reader can read there."""

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from cmc_notify.ports import Renderer as RendererPort
from cmc_notify.ports import (
    Sink,
)
from cmc_notify.rendering import Renderer
from cmc_notify.sinks.plugin import SinkPlugin

_LONGEST_LINE = 998
_LARGEST_MAIL = 10_000_000
_LONGEST_BODY = 110_000
"""Past some 100 KB mail readers cut; a line break has two bytes on the way."""


class Medium(ABC):
    """One kind of sink, and its other side. ``complete`` says that every text must be there whole."""

    plugin: ClassVar[SinkPlugin]
    complete: ClassVar[bool] = True
    spaced: ClassVar[bool] = False
    """Whether blank lines, and white space at the ends of lines, are lost in its blocks."""

    def __init__(self) -> None:
        self.renderer: RendererPort = Renderer()
        self.sink: Sink

    @abstractmethod
    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Start the other side; returns what the config says of it."""

    @abstractmethod
    def seen(self) -> str:
        """All that a reader can read of what arrived since the last call, which then is forgotten."""

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the other side and build the sink as the application does."""
        settings = self.plugin.settings.model_validate({**await self.start(stack), "timeout": 60})
        self.sink = self.plugin.build("place", settings, self.renderer)
        stack.push_async_callback(self.sink.close)
