"""The HTTP client against servers on loopback that behave badly after their status line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_notify.net import FailureKind, HttpClient, NetworkError
from cmc_notify.settings.base import TlsSettings

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Reads one request per connection, counts it, and answers with whatever bytes it is given."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[bytes] = []
        self.hold = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        writer.write(self.answer)
        try:
            await writer.drain()
            if self.hold:
                await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[RawServer, str]]:
    """A raw server and its address."""
    raw = RawServer()
    listener = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    yield raw, f"http://127.0.0.1:{port}/x"
    listener.close()


def client(**options: object) -> HttpClient:
    """A client with a short time-out."""
    return HttpClient(TlsSettings(), timeout=2.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "after",
    [
        b"Content-Security-Policy: " + b"x" * 9000 + b"\r\n\r\n",
        b"X: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"Content-Length: 50\r\n\r\ncut",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense",
        b"Content-Length: -7\r\n\r\n",
        b"Content-Encoding: br\r\n\r\nxxx",
        b"\x00\x00: broken\r\n\r\n",
        b"no colon here\r\n\r\n",
        b"",
    ],
)
async def test_status_line_counts_whatever_follows(server: tuple[RawServer, str], after: bytes) -> None:
    """A readable status line is a response, whatever comes behind it."""
    raw, url = server
    raw.answer = b"HTTP/1.1 202 Accepted\r\n" + after
    sender = client()
    response = await sender.request("POST", url, body=b"{}", read=1000)
    await sender.close()
    assert response.status == 202
    assert len(raw.requests) == 1


async def test_hanging_after_the_status_line_counts(server: tuple[RawServer, str]) -> None:
    """A server that stops talking behind its status line has accepted."""
    raw, url = server
    raw.answer, raw.hold = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\n", True
    sender = HttpClient(TlsSettings(), timeout=0.3)
    response = await sender.request("POST", url, body=b"{}")
    await sender.close()
    assert (response.status, response.fault and response.fault.kind) == (200, FailureKind.TIMEOUT)


@given(
    status=st.integers(200, 299),
    rest=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    b"\r\n",
                    b"\r\n\r\n",
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Content-Encoding: gzip\r\n",
                    b"5\r\nhello\r\n",
                    b"HTTP/1.1 500 No\r\n\r\n",
                ]
            ),
        ),
        max_size=8,
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes_after_success(server: tuple[RawServer, str], status: int, rest: list[bytes]) -> None:
    """Whatever bytes follow a 2xx status line, the response has that status."""
    raw, url = server
    raw.answer = b"HTTP/1.1 %d Fine\r\n" % status + b"".join(rest)
    sender = client()
    response = await sender.request("POST", url, body=b"{}", read=100)
    await sender.close()
    assert response.status == status


async def test_nothing_is_an_error_that_may_have_arrived(server: tuple[RawServer, str]) -> None:
    """A connection that ends without a status line leaves open whether the request arrived."""
    _raw, url = server
    sender = client()
    with pytest.raises(NetworkError) as caught:
        await sender.request("POST", url, body=b"{}")
    await sender.close()
    assert (caught.value.kind, caught.value.written) == (FailureKind.BROKEN, True)


async def test_errors_hold_no_secret() -> None:
    """A secret in the address shows in no error."""
    sender = client(secrets=lambda: ["s3cret-token"])
    with pytest.raises(NetworkError) as caught:
        await sender.request("POST", "http://127.0.0.1:1/hook/s3cret-token", body=b"{}")
    await sender.close()
    assert "s3cret" not in str(caught.value)
    assert caught.value.written is False
