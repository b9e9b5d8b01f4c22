"""Where Slack posts what people press and type, for who prefers a port to Socket Mode.

Guarantee: a request that is not signed by the app, or is old, gets 401 and changes nothing. A press is
answered before anything is done about it. No more than ``MAX_BODY`` bytes of a body are read.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from cmc_notify.chatops import App, ChatOps, UnreadablePayload, read_form, read_json
from cmc_notify.ports import ActionOutcome

MAX_BODY = 64 * 1024
"""Bytes of a body: a press comes with its message, whose blocks are 13,000 characters at most."""
BODY_TIMEOUT = 3.0
"""Seconds. Slack gives up then itself."""
VIA = "http"


class SlackEndpoint:
    """``POST /slack/{sink}/interactions`` and ``/slack/{sink}/commands``."""

    def __init__(self, chat: Callable[[], ChatOps | None]) -> None:
        """``chat`` is asked anew for each request: a reload replaces it."""
        self._chat = chat

    async def handle(self, request: web.Request) -> web.Response:
        """Verify, then hand over."""
        chat, sink = self._chat(), request.match_info["sink"]
        app = chat.app_of(sink) if chat else None
        if chat is None or app is None or app.signature_check is None:
            raise web.HTTPNotFound(text="no such sink here, or it has no signing_secret")
        body = await _body(request)
        if chat.stopping:  # asked now: it may have begun while the body was on its way
            raise web.HTTPServiceUnavailable(text="the bridge is stopping or being given a new config")
        headers = request.headers
        refusal = app.signature_check.refusal(
            body, headers.get("X-Slack-Request-Timestamp"), headers.get("X-Slack-Signature")
        )
        if refusal is not None:
            await chat.audit.record_unidentified(sink, VIA, ActionOutcome.FORGED, refusal)
            raise web.HTTPUnauthorized(text=f"refused: {refusal}")
        try:
            fields = read_form(body)
            if request.match_info["kind"] == "commands":
                return await _command(chat, app, fields)
            await chat.handle_press(app, VIA, read_json(fields.get("payload", "")))
        except UnreadablePayload as error:
            await chat.audit.record_unidentified(sink, VIA, ActionOutcome.UNREADABLE, str(error))
            raise web.HTTPBadRequest(text=f"refused: {error}") from error
        return web.Response()


async def _command(chat: ChatOps, app: App, fields: dict[str, str]) -> web.Response:
    if fields.get("ssl_check") == "1":  # Slack looks at the address now and then
        return web.Response()
    answer = await chat.handle_command(app, VIA, fields)
    if answer is None:
        raise web.HTTPBadRequest(text="refused: no command")
    return web.json_response(answer)


async def _body(request: web.Request) -> bytes:
    """The whole body, raw: that is what was signed."""
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body took too long") from None
    return bytes(body)
