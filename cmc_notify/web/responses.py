"""Common parts of every response: safe headers, and errors that say why.

No response may be cached, framed, sniffed or read by another site, and none runs a script.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
from aiohttp import web

from cmc_notify.errors import StoreError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: with that, browsers send "null" as the Origin of our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the common headers on a response before it is sent; a page's own policy stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "cmc-notify"


def refuse(
    request: web.BaseRequest, status: int, reason: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an error: as JSON under ``/api/``, as one line of text elsewhere."""
    if request.path.startswith("/api/"):
        body = msgspec.json.encode({"error": reason})
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)
    return web.Response(status=status, text=f"{reason}\n", headers=headers)


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a response that says what to do; details of a defect go only to the log."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = error.headers.get("Allow")
        reason = error.text if error.text and not error.empty_body else error.reason
        return refuse(request, error.status, reason, {"Allow": allow} if allow else None)
    except StoreError as error:
        log.warning("web.store_unavailable", path=request.path, reason=str(error))
        return refuse(request, 503, "the store can't be read at the moment; try again", {"Retry-After": "5"})
    except ConnectionError:
        raise  # the client closed the connection
    except Exception:
        log.exception("web.page_failed", path=request.path)
        if request.writer.output_size:
            raise  # part of the page was sent: only a cut connection shows the client that it is not complete
        return refuse(request, 500, "this page failed; see the log of the bridge for the reason")
