"""Test TLS, signing in, and servers that are absent or odd."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, Renderer
from support.email_sink import sink_for

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]


async def test_starttls_is_demanded(
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
    certificates: Any,
) -> None:
    """Without STARTTLS, or with a stranger's certificate, nothing goes out; with the right one it does."""
    plain = await start_post_office()
    refused = await sink_for(plain.port, renderer, tls="starttls").send(make_message(), record)
    assert isinstance(refused, Blocked)
    assert "STARTTLS" in refused.reason
    office = await start_post_office(tls_context=certificates.server, require_starttls=True)
    stranger = await sink_for(office.port, renderer, tls="starttls").send(make_message(), record)
    assert isinstance(stranger, Blocked)
    assert "certificate" in stranger.reason
    assert not plain.mails
    assert not office.mails
    trusted = {"mode": "starttls", "ca_file": str(certificates.ca_file)}
    assert isinstance(await sink_for(office.port, renderer, tls=trusted).send(make_message(), record), Sent)


async def test_tls_from_the_first_byte(
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
    certificates: Any,
) -> None:
    """Implicit TLS works with a CA file and with a pin; a stranger and a wrong pin get nothing."""
    office = await start_post_office(tls=certificates.server)

    async def send(**tls: Any) -> SendOutcome:
        sink = sink_for(office.port, renderer, tls={"mode": "tls", **tls})
        return await sink.send(make_message(), record)

    assert isinstance(await send(), Blocked)
    assert isinstance(await send(fingerprint_sha256="ab" * 32), Blocked)
    assert not office.mails
    assert isinstance(await send(ca_file=str(certificates.ca_file)), Sent)
    assert isinstance(await send(fingerprint_sha256=certificates.fingerprint), Sent)


async def test_signing_in(
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
    certificates: Any,
) -> None:
    """The right password is taken, a wrong one holds the queue, and none is ever shown."""
    tls = {"mode": "starttls", "ca_file": str(certificates.ca_file)}
    office = await start_post_office(tls_context=certificates.server, auth_required=True)
    right = sink_for(office.port, renderer, tls=tls, username="cmc", password="s3cr3tpass")
    wrong = sink_for(office.port, renderer, tls=tls, username="cmc", password="s3cr3twrong")
    nobody = sink_for(office.port, renderer, tls=tls)
    assert isinstance(await right.send(make_message(), record), Sent)
    for sink in (wrong, nobody):
        outcome = await sink.send(make_message(), record)
        assert isinstance(outcome, Blocked)
        assert "s3cr3t" not in outcome.reason
        assert isinstance(await sink.probe(), Blocked)
    no_doorman = await start_post_office(
        tls_context=certificates.server, auth_exclude_mechanism=["LOGIN", "PLAIN"]
    )
    lost = sink_for(no_doorman.port, renderer, tls=tls, username="cmc", password="s3cr3tpass")
    assert isinstance(await lost.send(make_message(), record), Blocked)
    assert len(office.mails) == 1
    assert not no_doorman.mails


async def test_an_absent_server_is_for_later(
    make_message: MakeMessage, renderer: Renderer, record: Any, closed_port: int
) -> None:
    """Nobody listens, or somebody who says nothing: the mail can't have arrived."""
    assert isinstance(await sink_for(closed_port, renderer).send(make_message(), record), RetryLater)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = sink_for(silent.getsockname()[1], renderer, timeout="200ms")
        assert isinstance(await sink.send(make_message(), record), RetryLater)


async def test_silence_after_the_final_dot_is_unclear(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """A server that has the whole mail and says nothing may have taken it."""
    office = await start_post_office()
    office.answers["DATA"] = "silent"
    outcome = await sink_for(office.port, renderer, timeout="300ms").send(make_message(), record)
    assert isinstance(outcome, Unclear)


async def test_what_is_no_smtp_is_for_later(
    make_message: MakeMessage, renderer: Renderer, record: Any
) -> None:
    """A peer that speaks something else may be replaced by a mail server again."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert isinstance(await sink_for(port, renderer).send(make_message(), record), RetryLater)
