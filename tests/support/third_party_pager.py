"""A company's own sink type, and an application that uses it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from cmc_notify.app import Bridge
from cmc_notify.core.outcome import SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, Renderer
from cmc_notify.settings import Settings
from cmc_notify.settings.base import SinkSettings
from cmc_notify.simulator import Simulator
from cmc_notify.sinks.plugin import SinkPlugin, load_plugins

Configure = Callable[..., Settings]


class PagerSettings(SinkSettings):
    """``type: pager``."""

    type: Literal["pager"] = "pager"
    broken: bool = False


class Pager:
    """Sends nothing before ``go``, and notes its documents."""

    def __init__(self, name: str, renderer: Renderer) -> None:
        self.name = name
        self.renderer = renderer
        self.go = asyncio.Event()
        self.go.set()
        self.texts: list[str] = []
        self.messages: list[Message] = []
        self.done = 0
        self.closed = False
        self.changed = asyncio.Condition()

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:  # noqa: ARG002  it has one part
        """Render, then wait for ``go``."""
        async with self.changed:
            self.messages.append(message)
            self.texts.append(self.renderer.render("pager", "txt", message).text)
            self.changed.notify_all()
        await self.go.wait()
        self.done += 1
        return Sent()

    async def sends(self, count: int) -> None:
        """Wait until ``count`` sends have started."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.messages) >= count)

    async def probe(self) -> SendOutcome:
        """Always there."""
        return Sent()

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class Company:
    """A third-party plugin, and the sinks that were built from it."""

    def __init__(self, templates: Path | None) -> None:
        self.built: list[Pager] = []
        self.plugins: Mapping[str, SinkPlugin] = {
            **load_plugins(),
            "pager": SinkPlugin(
                settings=PagerSettings, build=self._build, extensions=("txt",), templates=templates
            ),
        }

    def _build(self, name: str, settings: PagerSettings, renderer: Renderer) -> Pager:
        if settings.broken:
            raise ZeroDivisionError
        self.built.append(Pager(name, renderer))
        return self.built[-1]


def fail_a_job(sim: Simulator) -> None:
    """One failed job more."""
    job = sim.jobs.add(feature_ids=[3], site_ids=[1])
    job.start()
    job.finish("Failed", error_text="no route")


@asynccontextmanager
async def running(settings: Settings, company: Company) -> AsyncIterator[Bridge]:
    """A bridge at work."""
    bridge = Bridge(settings, company.plugins)
    await bridge.start()
    try:
        yield bridge
    finally:
        await bridge.stop()
