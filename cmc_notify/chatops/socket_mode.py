"""One app's Socket Mode connection: kept open, replaced when Slack asks for it, reopened after an outage.

Guarantee: an envelope is acknowledged before it is handled, whatever it holds. An outage is counted, is
logged once for each reason, and ends by itself. Only the calls of the SDK are used, not its own Socket Mode
client: after a failed connection that one retries an address that works only once, and it does not give the
reason of an outage. Source: Slack's page "Using Socket Mode".
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import structlog
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from cmc_notify.core.outcome import RetryLater
from cmc_notify.errors import CmcNotifyError
from cmc_notify.net import SessionOptions, client_context, open_session, safe, translate
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.interactivity_probe import app_client, socket_address
from cmc_notify.sinks.slack.settings import SlackSettings
from cmc_notify.telemetry import LoggedReasons, Metrics

_log = structlog.get_logger(__name__)

FIRST_RETRY, MAX_RETRY = 1.0, 60.0
"""Seconds between two tries; each wait is twice as long as the one before."""
RECONNECT_AFTER = 0.1
"""Seconds before a connection that Slack ended normally is replaced. So a server that ends every connection
can't keep us busy.
"""
HELLO_TIMEOUT = 15.0
"""Seconds from the request for an address to Slack's hello."""
HEARTBEAT = 10.0
"""Seconds between pings; a connection without a pong for half of that is dead."""

_MOVES = frozenset({"warning", "refresh_requested"})
"""Reasons that Slack gives when it moves a connection to another server, every few hours."""
_ENDS = {
    "link_disabled": "Socket Mode is switched off in the Slack app's settings",
    "too_many_websockets": "the app has more connections than Slack allows, ten: run fewer replicas or apps",
}

EnvelopeHandler = Callable[[str, Any], Awaitable[Mapping[str, Any] | None]]
"""Called with type and payload; returns at once the payload of the acknowledgement."""


class ConnectionLost(CmcNotifyError):
    """The connection could not be opened, or it broke. The message says why and holds no secret."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class SocketModeConnection:
    """Stays connected with an app-level token. ``name`` is the sink in metrics and log."""

    def __init__(
        self, name: str, settings: SlackSettings, take: EnvelopeHandler, *, metrics: Metrics
    ) -> None:
        assert settings.app_token is not None
        token = settings.app_token.get_secret_value().strip()
        self.name = name
        self._settings = settings
        self._token = token
        self._client = app_client(settings)
        self._context: ssl.SSLContext | None = None
        self._handle = take
        self._metrics = metrics
        self._reasons = LoggedReasons()
        self._wait = FIRST_RETRY
        self._down = False
        self._response_tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        connected = self._metrics.chat_sockets.labels(self.name)
        connected.set(0)
        try:
            while True:
                try:
                    await self._connection()
                    await asyncio.sleep(RECONNECT_AFTER)
                except ConnectionLost as error:
                    connected.set(0)
                    self._report_outage(error)
                    await asyncio.sleep(max(self._wait, error.wait))
                    self._wait = min(2 * self._wait, MAX_RETRY)
        finally:
            connected.set(0)
            for task in tuple(self._response_tasks):
                task.cancel()
            await self._client.close()

    def _report_outage(self, error: ConnectionLost) -> None:
        if not self._down:
            self._metrics.chat_socket_outages_total.labels(self.name).inc()
            self._down = True
        if self._reasons.is_new(str(error)):
            _log.warning("chat.socket_lost", sink=self.name, reason=str(error), next="it is retried")

    def _on_hello(self) -> None:
        self._metrics.chat_sockets.labels(self.name).set(1)
        _log.info("chat.socket_connected", sink=self.name)
        self._reasons.clear()
        self._wait = FIRST_RETRY
        self._down = False

    async def _connection(self) -> None:
        """Serve one connection until Slack ends it normally. Raises ConnectionLost for any other end."""
        try:
            if self._context is None:  # slow to make, and there may be many tries
                self._context = await asyncio.to_thread(client_context, self._settings.tls)
            options = SessionOptions(timeout=None, fingerprint=self._settings.tls.fingerprint)
            async with (
                open_session(options) as session,
                asyncio.timeout(HELLO_TIMEOUT) as greeting,
                session.ws_connect(
                    await self._address(), heartbeat=HEARTBEAT, proxy=self._settings.proxy, ssl=self._context
                ) as socket,
            ):
                await self._listen(socket, greeting)
        except SlackCallFailed as error:
            wait = error.outcome.after if isinstance(error.outcome, RetryLater) else None
            raise ConnectionLost(str(error), wait or 0.0) from error
        except TimeoutError as error:
            raise ConnectionLost("Slack sent no hello in time") from error
        except ConnectionLost:
            raise
        except (aiohttp.ClientError, OSError, ValueError, CmcNotifyError) as error:
            raise ConnectionLost(_reason(error, [self._token])) from error

    async def _address(self) -> str:
        """Return a new address; each works once, for a short time.

        Raises SlackCallFailed or ConnectionLost.
        """
        url = await socket_address(self._client)
        safely = self._settings.api_url.startswith("http://")
        if not isinstance(url, str) or not url.startswith(("wss://", "ws://") if safely else "wss://"):
            raise ConnectionLost(
                "apps.connections.open: the response names no address that begins with wss://"
            )
        return url

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, greeting: asyncio.Timeout) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            envelope = _read(message.data)
            kind = envelope.get("type")
            if kind == "hello":
                greeting.reschedule(None)
                self._on_hello()
            elif kind == "disconnect":
                if (reason := envelope.get("reason")) not in _MOVES:
                    raise ConnectionLost(
                        _ENDS.get(str(reason), f"Slack ended the connection: {safe(reason)}")
                    )
                return  # at once, so that no press is missed
            else:
                await self._on_envelope(socket, envelope)
        error = socket.exception()
        raise ConnectionLost(_reason(error) if error else "the connection was closed")

    async def _on_envelope(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        request = SocketModeRequest.from_dict(envelope | {"payload": {"it": envelope.get("payload")}})
        if request is None or not isinstance(request.envelope_id, str):
            _log.warning(
                "chat.envelope_unreadable", sink=self.name, reason="a message that is not an envelope"
            )
            return
        if request.accepts_response_payload:
            self._start_task(self._respond(socket, request))
            return
        await _acknowledge(socket, request.envelope_id)
        await self._handle(str(request.type), request.payload["it"])

    async def _respond(self, socket: aiohttp.ClientWebSocketResponse, request: SocketModeRequest) -> None:
        payload = await self._handle(str(request.type), request.payload["it"])
        await _acknowledge(socket, request.envelope_id, payload)

    def _start_task(self, work: Any) -> None:
        task = asyncio.create_task(work, name=f"chat:response:{self.name}")
        self._response_tasks.add(task)
        task.add_done_callback(self._response_tasks.discard)


async def _acknowledge(
    socket: aiohttp.ClientWebSocketResponse, envelope_id: str, payload: Mapping[str, Any] | None = None
) -> None:
    """Acknowledge the envelope; if the connection is gone, Slack sends it again on another."""
    response = SocketModeResponse(envelope_id, dict(payload) if payload else None)
    try:
        await socket.send_str(json.dumps(response.to_dict()))
    except (aiohttp.ClientError, OSError) as error:
        _log.debug("chat.acknowledge_failed", reason=_reason(error))


def _reason(error: BaseException, secrets: Sequence[str] = ()) -> str:
    if isinstance(error, CmcNotifyError):
        return safe(error, secrets)
    return str(translate(error, written=False, secrets=secrets))


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
