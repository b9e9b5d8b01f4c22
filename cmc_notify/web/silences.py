"""``/api/v1/silences``: the part of the API that changes something, for those who may act."""

import time
from collections.abc import Callable, Collection

import msgspec
from aiohttp import hdrs, web

from cmc_notify.core.events import rfc3339
from cmc_notify.errors import ConfigError
from cmc_notify.ports import Clock, Silences
from cmc_notify.web.api import Query
from cmc_notify.web.audit import SUBJECT
from cmc_notify.web.bodies import read_body
from cmc_notify.web.silence_documents import parse_silence, silence_document

MAX_BODY = 65_536
"""The largest body of a request, in bytes."""


class SilencesApi:
    """Lists, adds and ends silences. ``Access.guard`` has let a change pass, and ``WebAudit`` records it."""

    def __init__(
        self, silences: Silences, controllers: Callable[[], Collection[str]], clock: Clock = time.time
    ) -> None:
        """``controllers`` returns the names of the configured controllers."""
        self._silences = silences
        self._controllers = controllers
        self._clock = clock

    async def show(self, request: web.Request) -> web.Response:
        """Return active and future silences, the earliest end first; ``?expired=true`` adds ended ones."""
        query, now = Query(request, "expired"), self._clock()
        found = await self._silences.list_silences(now=now, expired=query.flag("expired"))
        return _json({"silences": [silence_document(silence, now) for silence in found]})

    async def add(self, request: web.Request) -> web.Response:
        """Return 201 with the silence, or 400 with every problem of the body."""
        Query(request)
        now = self._clock()
        document = await _read_body(request)
        try:
            silence = parse_silence(document, controllers=self._controllers(), now=now)
        except ConfigError as error:
            raise web.HTTPBadRequest(text="; ".join(error.problems)) from error
        await self._silences.add(silence)
        request[SUBJECT] = f"silence:{silence.id}"
        response = _json(silence_document(silence, now), 201)
        response.headers[hdrs.LOCATION] = f"/api/v1/silences/{silence.id}"
        return response

    async def end(self, request: web.Request) -> web.Response:
        """End one silence now; 404 if no silence of this id is active or in the future."""
        Query(request)
        now, silence_id = self._clock(), request.match_info["silence_id"]
        request[SUBJECT] = f"silence:{silence_id}"
        if not await self._silences.expire(silence_id, now=now):
            raise web.HTTPNotFound(text="there is no such silence, or it has already ended")
        return _json({"id": silence_id, "ended": rfc3339(now)})


async def _read_body(request: web.Request) -> dict[str, object]:
    """Return the body as a JSON object; at most ``MAX_BODY`` bytes are read."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON, with Content-Type: application/json")
    body = await read_body(request, most=MAX_BODY)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise web.HTTPBadRequest(text='send an object, such as {"serial": "V2AB*", "duration": "4h", …}')
    return document


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")
