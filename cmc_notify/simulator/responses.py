"""The server's responses: JSON bodies, the vendor's error documents, and each kind of fault."""

import asyncio
import json
from http import HTTPStatus

from aiohttp import web

from cmc_notify.simulator.faults import FaultKind


class ApiError(Exception):
    """The controller responds with an error document."""

    def __init__(self, status: int, error_id: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error_id = error_id


def error_body(error_id: str, text: str) -> bytes:
    """Return the vendor's error document."""
    return json.dumps({"error_id": error_id, "error_text": text, "error_info": None}).encode()


def connected(request: web.Request) -> bool:
    """Return True if the caller is still connected."""
    return request.transport is not None and not request.transport.is_closing()


async def send(
    request: web.Request, status: int, body: bytes, cookie: tuple[str, str] | None = None
) -> web.StreamResponse:
    """Send a JSON response. Raises ConnectionError if the caller disconnects before its end."""
    response = _response(status, len(body))
    if cookie:
        response.set_cookie(*cookie, httponly=True)
    await response.prepare(request)
    await response.write(body)
    await response.write_eof()
    return response


async def send_slowly(
    request: web.Request, body: bytes, seconds: float, stop: asyncio.Event, pieces: int = 20
) -> web.StreamResponse:
    """Send a body in pieces spread over real seconds. Raises ConnectionError as :func:`send` does."""
    response = _response(HTTPStatus.OK, len(body))
    await response.prepare(request)
    step = max(1, -(-len(body) // pieces))
    for start in range(0, len(body), step):
        await _pause(seconds / pieces, stop)
        if not connected(request):
            raise ConnectionResetError("the caller disconnected")
        await response.write(body[start : start + step])
    await response.write_eof()
    return response


async def fail(request: web.Request, kind: FaultKind, body: bytes, stop: asyncio.Event) -> web.StreamResponse:
    """Let a request meet a fault (any except ``slow``); ``stop`` ends a hanging one."""
    response: web.StreamResponse = web.Response()
    match kind:
        case "500" | "503":
            return await send(
                request, int(kind), error_body("INTERNAL_ERROR", "The service is not available")
            )
        case "401":
            return await send(request, 401, error_body("AUTH_EXPIRED_TOKEN", "The token has expired"))
        case "garbage":
            return await send(request, HTTPStatus.OK, b"<html><body>The service is starting</body></html>")
        case "cut":
            response = _response(HTTPStatus.OK, max(len(body), 2))
            await response.prepare(request)
            await response.write(body[: max(len(body), 2) // 2] or b"[")
        case "timeout":
            while connected(request) and not stop.is_set():
                await _pause(0.05, stop)
        case "refuse" | "slow":
            pass
    if request.transport is not None:
        # close() still sends what was written: a cut is in mid-body, not before it.
        request.transport.close()
    return response


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _response(status: int, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    response.content_length = length
    return response
