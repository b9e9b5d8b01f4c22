"""Bodies of requests: read whole, within a size and a time, whatever the sender claims or drips."""

import asyncio

from aiohttp import web

BODY_TIMEOUT = 10.0
"""Seconds for a whole body."""


async def read_body(request: web.Request, *, most: int, within: float = BODY_TIMEOUT) -> bytes:
    """Return the raw body. Raises HTTP 413 beyond ``most`` bytes, 408 after ``within`` seconds."""
    if (request.content_length or 0) > most:
        raise _too_large(most, request.content_length or 0)
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise _too_large(most, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body took more than {within:g} s; send it at once") from None
    return bytes(body)


def _too_large(most: int, size: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(most, size, text=f"the body is too large; send at most {most} bytes")
