"""One app's Socket Mode connection: kept, replaced when Slack asks for it, opened again after an outage.

Guarantee: an envelope is acknowledged before anything is done about it, whatever it holds; an outage is
logged once for each reason, counted, and ends by itself. The SDK's own client is not used beyond its calls:
it tries a used-up address again and again where Slack handed one out and the connection then failed, and
keeps an outage's reason to itself. Source: Slack's page "Using Socket Mode".
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import structlog
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from cmc_notify.core.outcome import RetryLater
from cmc_notify.errors import CmcNotifyError
from cmc_notify.sinks.http import ssl_context
from cmc_notify.sinks.outcomes import describe, safe
from cmc_notify.sinks.slack.error_codes import NotTaken
from cmc_notify.sinks.slack.interactivity_probe import app_client, socket_address
from cmc_notify.sinks.slack.settings import SlackSettings
from cmc_notify.telemetry import Metrics, Reasons

_log = structlog.get_logger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between two tries; each wait is twice the one before."""
REST = 0.1
"""Seconds before a connection that Slack ended in order is replaced: one that always does must not keep us
busy.
"""
GREETING_WITHIN = 15.0
"""Seconds from the call for an address to Slack's hello."""
HEARTBEAT = 10.0
"""Seconds between pings; a connection that does not answer half as long is dead."""

_MOVES = frozenset({"warning", "refresh_requested"})
"""Why Slack moves a connection to another of its servers, every few hours."""
_ENDS = {
    "link_disabled": "Socket Mode is switched off in the Slack app's settings",
    "too_many_websockets": "the app has more connections than Slack allows, ten: run fewer replicas or apps",
}

Take = Callable[[str, Any], Awaitable[Mapping[str, Any] | None]]
"""``take(type, payload)`` returns what the acknowledgement carries, at once: it starts what takes time."""


class Lost(CmcNotifyError):
    """The connection could not be had, or broke off; the message says why and holds no secret."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Socket:
    """Connects with an app-level token until it is stopped. ``name`` is the sink's that it is counted for."""

    def __init__(self, name: str, settings: SlackSettings, take: Take, *, metrics: Metrics) -> None:
        assert settings.app_token is not None
        token = settings.app_token.get_secret_value().strip()
        self.name = name
        self._settings = settings
        self._token = token
        self._client = app_client(settings)
        self._context: ssl.SSLContext | None = None
        self._take = take
        self._metrics = metrics
        self._reasons = Reasons()
        self._wait = FIRST_WAIT
        self._down = False
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Stay connected; ends by cancellation alone."""
        connected = self._metrics.chat_sockets.labels(self.name)
        connected.set(0)
        try:
            while True:
                try:
                    await self._connection()
                    await asyncio.sleep(REST)
                except Lost as error:
                    connected.set(0)
                    self._tell(error)
                    await asyncio.sleep(max(self._wait, error.wait))
                    self._wait = min(2 * self._wait, LONGEST_WAIT)
        finally:
            connected.set(0)
            for task in tuple(self._answers):
                task.cancel()
            await self._client.close()

    def _tell(self, error: Lost) -> None:
        if not self._down:
            self._metrics.chat_socket_outages_total.labels(self.name).inc()
            self._down = True
        if self._reasons.tells_more(str(error)):
            _log.warning("chat.socket_lost", sink=self.name, reason=str(error), next="it is tried again")

    def _greeted(self) -> None:
        self._metrics.chat_sockets.labels(self.name).set(1)
        _log.info("chat.socket_connected", sink=self.name)
        self._reasons.clear()
        self._wait = FIRST_WAIT
        self._down = False

    async def _connection(self) -> None:
        """One connection from its address to its end as Slack wishes. Raises Lost for any other end."""
        pin = self._settings.tls.fingerprint
        try:
            if self._context is None:  # it takes a while to make, and there may be many tries
                self._context = await asyncio.to_thread(ssl_context, self._settings.tls)
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=True if pin is None else aiohttp.Fingerprint(pin)),
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                asyncio.timeout(GREETING_WITHIN) as greeting,
                session.ws_connect(
                    await self._address(), heartbeat=HEARTBEAT, proxy=self._settings.proxy, ssl=self._context
                ) as socket,
            ):
                await self._listen(socket, greeting)
        except NotTaken as error:
            wait = error.outcome.after if isinstance(error.outcome, RetryLater) else None
            raise Lost(str(error), wait or 0.0) from error
        except TimeoutError as error:
            raise Lost("Slack did not greet us in time") from error
        except Lost:
            raise
        except (aiohttp.ClientError, OSError, ValueError, CmcNotifyError) as error:
            raise Lost(safe(describe(error), [self._token])) from error

    async def _address(self) -> str:
        """A new one for each connection: it works once, for a short time. Raises NotTaken or Lost."""
        url = await socket_address(self._client)
        safely = self._settings.api_url.startswith("http://")
        if not isinstance(url, str) or not url.startswith(("wss://", "ws://") if safely else "wss://"):
            raise Lost("apps.connections.open: the answer names no address that begins with wss://")
        return url

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, greeting: asyncio.Timeout) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            envelope = _read(message.data)
            kind = envelope.get("type")
            if kind == "hello":
                greeting.reschedule(None)
                self._greeted()
            elif kind == "disconnect":
                if (reason := envelope.get("reason")) not in _MOVES:
                    raise Lost(_ENDS.get(str(reason), f"Slack ended the connection: {safe(reason)}"))
                return  # at once, so that no press is missed
            else:
                await self._got(socket, envelope)
        error = socket.exception()
        raise Lost(safe(describe(error)) if error else "the connection was closed")

    async def _got(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        request = SocketModeRequest.from_dict(envelope | {"payload": {"it": envelope.get("payload")}})
        if request is None or not isinstance(request.envelope_id, str):
            _log.warning("chat.unreadable", sink=self.name, reason="a message that is no envelope")
            return
        if request.accepts_response_payload:
            self._later(self._answer(socket, request))
            return
        await _acknowledge(socket, request.envelope_id)
        await self._take(str(request.type), request.payload["it"])

    async def _answer(self, socket: aiohttp.ClientWebSocketResponse, request: SocketModeRequest) -> None:
        answer = await self._take(str(request.type), request.payload["it"])
        await _acknowledge(socket, request.envelope_id, answer)

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work, name=f"chat:answer:{self.name}")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


async def _acknowledge(
    socket: aiohttp.ClientWebSocketResponse, envelope_id: str, payload: Mapping[str, Any] | None = None
) -> None:
    """Tell Slack that it arrived; where the connection is gone, it sends it again by another."""
    response = SocketModeResponse(envelope_id, dict(payload) if payload else None)
    try:
        await socket.send_str(json.dumps(response.to_dict()))
    except (aiohttp.ClientError, OSError) as error:
        _log.debug("chat.not_acknowledged", reason=safe(describe(error)))


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
