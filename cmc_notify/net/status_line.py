"""The status line of a response, kept apart from everything that follows it.

A server that answers ``200 OK`` has accepted the request, also where its headers are too long, its chunks
are nonsense or the connection breaks off. aiohttp gives up such a response whole (aio-libs/aiohttp#2304,
#3862), so the bridge keeps the line itself.
"""

import asyncio
import functools
import re
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from typing_extensions import override

_STATUS = re.compile(rb"HTTP/[0-9]\.[0-9] +([0-9]{3})(?=[ \r\n])")
_KEPT = 64 * 1024
"""Bytes of a response's beginning in which the final status line must stand, behind interim ones."""


class StatusLineUnread(aiohttp.ClientError):
    """A response whose status is known and whose headers could not be read; ``__cause__`` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}, then nothing that could be read")
        self.status = status


class StatusLineProtocol(ResponseHandler):
    """aiohttp's protocol, which also notes how each response begins."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._beginning = bytearray()

    @override
    def set_response_params(self, **params: Any) -> None:
        self._beginning.clear()
        super().set_response_params(**params)

    @override
    def data_received(self, data: bytes) -> None:
        if len(self._beginning) < _KEPT:
            self._beginning += data[: _KEPT - len(self._beginning)]
        super().data_received(data)

    @property
    def status(self) -> int | None:
        """The final status, behind any interim ones (1xx); None where it has not arrived."""
        return final_status(bytes(self._beginning))


def final_status(beginning: bytes) -> int | None:
    """Return the first status of a response that is not interim; None where there is none."""
    rest = beginning.lstrip(b"\r\n")
    while found := _STATUS.match(rest):
        status = int(found[1])
        if status >= 200 or status == 101:  # noqa: PLR2004  1xx come before the final response
            return status
        _, _, rest = rest.partition(b"\r\n\r\n")
    return None


class StatusLineConnector(aiohttp.TCPConnector):
    """A connector whose connections note status lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # No public way to choose the protocol; tests/contract/test_net_client.py fails if aiohttp renames it.
        self._factory = cast(
            "functools.partial[ResponseHandler]", functools.partial(StatusLineProtocol, loop=self._loop)
        )


class StatusLineResponse(aiohttp.ClientResponse):
    """A response that raises :class:`StatusLineUnread` where only its status line could be read."""

    @override
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        try:
            return await super().start(connection)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            status = getattr(protocol, "status", None)
            if status is None:
                raise
            connection.close()
            raise StatusLineUnread(status) from error
