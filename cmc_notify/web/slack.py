"""The endpoint for presses and commands from Slack, for operators who prefer a port to Socket Mode.

Guarantee: a request that is old or not signed by the app gets 401 and changes nothing. A press gets its
response before it is handled. At most ``MAX_BODY`` bytes of a body are read.
"""

from collections.abc import Callable

from aiohttp import web

from cmc_notify.chatops import App, ChatOps, UnreadablePayload, read_form, read_json
from cmc_notify.ports import ActionOutcome
from cmc_notify.web.bodies import read_body

MAX_BODY = 64 * 1024
"""Bytes of a body. A press includes its message, whose blocks have at most 13,000 characters."""
BODY_TIMEOUT = 3.0
"""Seconds; Slack gives up after the same time."""
VIA = "http"


class SlackEndpoint:
    """``POST /slack/{sink}/interactions`` and ``/slack/{sink}/commands``."""

    def __init__(self, chat: Callable[[], ChatOps | None]) -> None:
        """``chat`` is called for each request, since a reload replaces it."""
        self._chat = chat

    async def handle(self, request: web.Request) -> web.Response:
        """Check the signature, then pass the payload on."""
        chat, sink = self._chat(), request.match_info["sink"]
        app = chat.app_of(sink) if chat else None
        if chat is None or app is None or app.signature_check is None:
            raise web.HTTPNotFound(text="there is no such sink here, or it has no signing_secret")
        body = await read_body(request, most=MAX_BODY, within=BODY_TIMEOUT)  # raw: the signature is over it
        if chat.stopping:  # checked here: it may have begun while the body arrived
            raise web.HTTPServiceUnavailable(text="the bridge is stopping or loading a new config")
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
    if fields.get("ssl_check") == "1":  # Slack tests the address from time to time
        return web.Response()
    answer = await chat.handle_command(app, VIA, fields)
    if answer is None:
        raise web.HTTPBadRequest(text="refused: not a valid command")
    return web.json_response(answer)
