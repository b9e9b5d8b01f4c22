"""The receiving sides: webhook endpoints that take, refuse, cut or ignore what comes, by seeded chance.

They record for each request who sent it, when its body was there and what it was answered, which is more
than the simulator's receiver knows: it is what each repeat is judged by.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

import msgspec
from aiohttp import web

from support.soak.plan import Plan
from support.soak.record import Arrival, Record, Reply

LIFE = "soak-life"
"""The header by which a replica says which of its lives it is."""
FINALS = frozenset({"job.failed", "job.succeeded", "job.canceled"})
TRANSITIONS = FINALS | {"job.queued", "job.started"}
_SLOWEST = 0.4
_RETRY_AFTER = 1

Watch = Callable[[Arrival], None]


class Receivers:
    """One server for each sink. ``calm``: from now on everything is taken at once."""

    def __init__(self, plan: Plan, record: Record) -> None:
        self.urls: dict[str, str] = {}
        self.calm = False
        self.on_hold: Watch | None = None
        """Called once, with an arrival that is going to be accepted."""
        self.on_answer: Watch | None = None
        """Called once, with an arrival whose acceptance has just been sent."""
        self._plan = plan
        self._record = record
        self._chances = {sink: plan.chance("receiver", sink) for sink in plan.sinks}
        self._ends: dict[tuple[str, int], set[str]] = {}
        self._transitions: set[str] = set()
        self._changed = asyncio.Condition()
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen on loopback."""
        for sink in self._plan.sinks:
            app = web.Application()
            app.router.add_post(f"/{sink}", self._handle)
            # Cancelled handlers show that the caller is gone.
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._runners.append(runner)
            self.urls[sink] = f"http://127.0.0.1:{runner.addresses[0][1]}/{sink}"

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()

    async def ended(self, controller: str, job: int, times: int) -> None:
        """Wait until as many ends of the job have reached any receiver."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._ends.get((controller, job), ())) >= times)

    async def transitions(self, count: int) -> None:
        """Wait until as many changes of a job's status have reached any receiver."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._transitions) >= count)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        document = msgspec.json.decode(await request.read())
        sink = request.path.removeprefix("/")
        arrival = Arrival(
            sink=sink,
            key=request.headers["webhook-id"],
            life=request.headers[LIFE],
            began=time.monotonic(),
            document=document,
        )
        self._record.arrivals.append(arrival)
        await self._note(document)
        reply, delay = self._mood(sink)
        try:
            return await self._answer(request, arrival, reply, delay)
        except (asyncio.CancelledError, ConnectionError):
            _close(arrival, "hang" if reply == "hang" else "gone")
            raise

    def _mood(self, sink: str) -> tuple[Reply, float]:
        if self.calm:
            return "200", 0.0
        chance = self._chances[sink]
        replies, weights = zip(*self._plan.moods, strict=True)
        reply: Reply = chance.choices(replies, weights)[0]
        return reply, chance.uniform(0, _SLOWEST) if chance.random() < self._plan.slow else 0.0

    async def _answer(
        self, request: web.Request, arrival: Arrival, reply: Reply, delay: float
    ) -> web.StreamResponse:
        await asyncio.sleep(delay)
        if reply == "hang":
            await asyncio.Event().wait()
        if reply == "reset":
            _close(arrival, reply)
            assert request.transport
            request.transport.abort()
            return web.Response()
        if reply == "200" and (watch := self.on_hold):
            self.on_hold = None
            watch(arrival)
        _close(arrival, reply)
        headers = {"Retry-After": str(_RETRY_AFTER)} if reply == "429" else {}
        response = web.Response(status=HTTPStatus(int(reply)), headers=headers)
        await response.prepare(request)
        await response.write_eof()
        if reply == "200" and (watch := self.on_answer):
            self.on_answer = None
            watch(arrival)
        return response

    async def _note(self, document: dict[str, object]) -> None:
        job = document["job"]
        if not isinstance(job, dict) or document["type"] not in TRANSITIONS:
            return
        async with self._changed:
            self._transitions.add(str(document["id"]))
            if document["type"] in FINALS:
                place = str(document["controller"]), int(job["id"])
                self._ends.setdefault(place, set()).add(str(document["id"]))
            self._changed.notify_all()


def _close(arrival: Arrival, reply: Reply) -> None:
    """The first thing that happened to it stands."""
    if arrival.reply is None:
        arrival.reply, arrival.ended = reply, time.monotonic()
