"""A simulated controller: one object to start, control and inspect.

It behaves as the vendor's pages on API and sign-in say; :class:`Quirks` choose what they leave open. The same
scenario, seed and options give the same history. Everything that it served is recorded.
"""

import asyncio
import random
import ssl
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from cmc_notify.simulator.auth import Auth, SignIn
from cmc_notify.simulator.catalog import Catalog
from cmc_notify.simulator.clock import START, Change, VirtualClock
from cmc_notify.simulator.faults import FaultKind, Faults, Outage
from cmc_notify.simulator.jobs import Jobs, Version
from cmc_notify.simulator.quirks import Quirks
from cmc_notify.simulator.scenarios import Scenario, find_scenario
from cmc_notify.simulator.server import Request, Server
from cmc_notify.simulator.stage import Stage


class Simulator:
    """A controller on loopback that plays a scenario.

    ``speed`` virtual seconds pass in a real one; with 0 the time moves only by :meth:`advance`.
    ``start_time`` is the start in virtual Unix seconds. ``options`` are those of the scenario.
    Raises ConfigError for an unknown scenario or option.
    """

    def __init__(
        self,
        scenario: Scenario | str = "empty",
        *,
        seed: int = 1,
        speed: float = 1.0,
        quirks: Quirks | None = None,
        auth: Auth | None = None,
        start_time: float = START,
        ssl_context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self.quirks = quirks or Quirks()
        self.clock = VirtualClock(speed, start_time)
        self.jobs = Jobs(self.clock, self.quirks)
        self.catalog = Catalog()
        self.faults = Faults()
        self.sign_in = SignIn(auth or Auth())
        self.seed = seed
        self._server = Server(
            self.quirks,
            clock=self.clock,
            jobs=self.jobs,
            catalog=self.catalog,
            sign_in=self.sign_in,
            faults=self.faults,
        )
        self._ssl = ssl_context
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self.url: str | None = None
        """The base URL, once started."""
        play = find_scenario(scenario, options)
        play(Stage(self.clock, self.jobs, self.catalog, self.faults, random.Random(seed)))

    @property
    def history(self) -> list[Version]:
        """Return every version of every job, in order of creation."""
        return self.jobs.history

    @property
    def requests(self) -> list[Request]:
        """Return every request, also those that failed."""
        return self._server.requests

    @property
    def served(self) -> list[Request]:
        """Return the GET requests for jobs whose whole response was sent, in order."""
        return [
            entry
            for entry in self.requests
            if entry.complete and entry.method == "GET" and entry.status == 200 and "/jobs" in entry.target  # noqa: PLR2004  HTTP OK
        ]  # fmt: skip

    @property
    def now(self) -> float:
        """Return virtual Unix seconds."""
        return self.clock.now

    @property
    def finished(self) -> bool:
        """Return True if the scenario has ended: nothing more is planned."""
        return self.clock.idle.is_set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, start the clock, and return the base URL."""
        runner = web.AppRunner(self._server.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=self._ssl)
        await site.start()
        self._runner = runner
        self.clock.run()
        if self.clock.speed:
            self._playing = asyncio.create_task(self.clock.play())
        scheme = "https" if self._ssl else "http"
        self.url = f"{scheme}://{host}:{runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Stop listening and playing; the record stays. A second call does nothing."""
        self._server.stopping.set()
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)
            self._playing = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def wait_finished(self) -> None:
        """Wait for the scenario's end. Raises any exception of a change of the scenario."""
        waiting = asyncio.create_task(self.clock.idle.wait())
        tasks = {waiting, self._playing} if self._playing else {waiting}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._playing is not None and self._playing.done():
            self._playing.result()

    def advance(self, seconds: float) -> None:
        """Move the clock forward by virtual seconds; changes that become due happen in order."""
        self.clock.advance(seconds)

    def at(self, seconds: float, change: Change) -> None:
        """Plan a change, in virtual seconds after the start."""
        self.clock.at(self.clock.start + seconds, change)

    def fail_next(self, kind: FaultKind, count: int = 1, *, path: str = "") -> None:
        """Let the next ``count`` requests whose path and query contain ``path`` meet a fault."""
        self.faults.fail_next(kind, count, path=path)

    def outage(self, kind: FaultKind) -> AbstractContextManager[Outage]:
        """Return a context manager; while its block runs, every request meets this fault."""
        return self.faults.outage(kind, lambda: self.clock.now)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
