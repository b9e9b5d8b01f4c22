"""TLS, proxies and everything that goes wrong on the way: one kind of error, short, without a secret."""

import asyncio
import gzip
from typing import Any

import pytest

from cmc_notify.errors import ControllerUnreachable
from support.raw_server import HEAD, JOBS, Talk, client, raw_server, says


async def reason_for(talk: Talk, **settings: Any) -> str:
    """Why the client gives up on a server that talks like this."""
    async with raw_server(talk) as address, client(f"http://{address}", **settings) as controller:
        with pytest.raises(ControllerUnreachable) as caught:
            await controller.list_jobs(after=1)
        assert "after" not in str(caught.value)
        return str(caught.value).removeprefix(f"GET http://{address}{JOBS}: ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the connection was lost before the response was complete"),
        (
            HEAD + b"Content-Length: 1000\r\n\r\n[",
            "the connection was lost before the response was complete",
        ),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[{}\r\n",
            "the connection was lost before the response was complete",
        ),
        (HEAD + b'\r\n[{"id": 1}', "the response is not JSON, or was cut"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the response is not valid HTTP"),
        (
            HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n[{}]",
            "the connection was lost before the response was complete",
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops", "status 500"),
        (
            b'HTTP/1.1 503 No\r\nContent-Length: 20\r\n\r\n{"error_id": "BUSY"}',
            "status 503 (BUSY)",
        ),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", "status 429"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "status 400"),
    ],
)
async def test_a_bad_answer_is_an_outage_with_its_reason(data: bytes, reason: str) -> None:
    """Whatever breaks, the reader gets one short reason, and the caller one kind of error."""
    assert (await reason_for(says(data))).split(": ")[-1].startswith(reason)


async def test_a_controller_that_is_not_there() -> None:
    """A refused connection is told as such, with the address and in plain words."""
    async with raw_server(says(b"")) as address:
        pass
    async with client(f"http://{address}") as controller:
        with pytest.raises(ControllerUnreachable, match=f"no connection to {address}: connection refused$"):
            await controller.list_jobs()


@pytest.mark.parametrize("start", [b"", HEAD + b"Content-Length: 100\r\n\r\n[", HEAD + b"\r\n["])
async def test_a_slow_answer_ends_within_the_timeout(start: bytes) -> None:
    """A controller that stops before, or in the middle of, its answer costs poll.timeout and no more."""
    hang = asyncio.Event()

    async def talk(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await hang.wait()

    async with asyncio.timeout(2.5):
        reason = await reason_for(talk, poll={"timeout": "200ms"})
    hang.set()
    assert reason == "no complete response within 0.2 s (poll.timeout)"


@pytest.mark.parametrize("zipped", [False, True])
async def test_an_oversized_answer_is_given_up(zipped: bool) -> None:
    """More than poll.max_body bytes, counted unpacked, are not taken, however small they were sent."""
    body = b"[" + b" " * 70_000 + b"]"
    head = HEAD + (b"Content-Encoding: gzip\r\n" if zipped else b"")
    sent = gzip.compress(body) if zipped else body
    whole = head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    reason = await reason_for(says(whole), poll={"max_body": 65_536})
    assert reason == "the response is larger than 65536 bytes (poll.max_body)"
    async with raw_server(says(whole)) as address, client(f"http://{address}") as controller:
        assert await controller.list_jobs() == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A redirect is reported with its target's host, and nothing is sent there."""
    asked: list[bytes] = []

    async def listen(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n[]")

    async with raw_server(listen) as elsewhere:
        location = f"http://{elsewhere}/?token=hidden".encode()
        answer = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
        auth = {"method": "basic", "username": "u", "password": "p"}
        reason = await reason_for(says(answer), auth=auth)
    assert reason.startswith(
        f"the response is a redirect ({status}) to http://127.0.0.1, which is not followed"
    )
    assert "hidden" not in reason
    assert asked == []
