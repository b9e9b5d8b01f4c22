"""The webhook sink against a real receiver on loopback."""

import asyncio
import base64
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cmc_notify.core.events import decode
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder, Renderer
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.sinks.webhook import PLUGIN, WebhookSink

MakeMessage = Callable[..., Message]
SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(2)]
HOSTILE = (
    "quotes \" ' \\ and\nlines\r\nand \t tabs",
    "controls \x01\x07\x1b[31m\x7f\x85 and \u202e override",
    "<!channel> <@U1> {{ 7*7 }} </script><b>&amp;",
    "NUL \u2400 and \ufffd and \U0001f4a5 and " + "x" * 20_000,
)


async def send(sink: WebhookSink, message: Any, record: PartRecorder) -> Any:
    """One attempt through a sink that is closed afterwards."""
    try:
        return await sink.send(message, record)
    finally:
        await sink.close()


def sink_for(url: str, renderer: Renderer, path: str = "/hook", **more: Any) -> WebhookSink:
    """A webhook sink built as the application builds it."""
    settings = PLUGIN.settings.model_validate({"type": "webhook", "url": f"{url}{path}", **more})
    sink = PLUGIN.build("tickets", settings, renderer)
    assert isinstance(sink, WebhookSink)
    return sink


async def test_the_event_document_arrives_signed_and_exact(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """The body is the event, every hostile text exact, under the delivery's key and a valid signature."""
    message = make_message(texts=HOSTILE, error_text=HOSTILE[1])
    async with Receiver(secrets=SECRETS[:1]) as receiver:
        outcome = await send(sink_for(receiver.url, renderer, signing_secret=SECRETS), message, record)
    assert outcome == Sent("HTTP 200")
    [request] = receiver.requests
    assert request.problem is None
    assert request.id == message.key
    assert request.headers["webhook-signature"].count("v1,") == 2
    assert request.headers["content-type"] == "application/json"
    assert request.method == "POST"
    assert decode(request.body) == message.event


async def test_a_receiver_with_another_secret_refuses(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A signature by the wrong secret is refused, and the queue is held for an operator."""
    async with Receiver(secrets=SECRETS[:1]) as receiver:
        outcome = await send(
            sink_for(receiver.url, renderer, signing_secret=SECRETS[1]), make_message(), record
        )
    assert outcome == Blocked("HTTP 401: no signature matches")


async def test_the_id_stays_and_the_timestamp_moves(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """Repeats carry the same webhook-id, so that the receiver counts the message once."""
    async with Receiver(secrets=SECRETS) as receiver:
        receiver.script.extend(
            [ScriptedResponse(action="reset"), ScriptedResponse(503, {"Retry-After": "7"})]
        )
        sink = sink_for(receiver.url, renderer, signing_secret=SECRETS)
        outcomes = [await sink.send(make_message(), record) for _ in range(4)]
        await sink.close()
    assert [type(outcome) for outcome in outcomes] == [Unclear, RetryLater, Sent, Sent]
    assert outcomes[1] == RetryLater("HTTP 503", 7.0)
    assert len({request.id for request in receiver.requests}) == 1
    assert len(receiver.requests) == 4
    assert len(receiver.accepted) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_lost_connection_is_not_sent_again_by_itself(
    method: str, make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A connection that is lost after the request was read makes one request and an unclear outcome."""
    async with Receiver() as receiver:
        receiver.otherwise = ScriptedResponse(action="reset")
        outcome = await send(sink_for(receiver.url, renderer, method=method), make_message(), record)
    assert isinstance(outcome, Unclear)
    assert [request.method for request in receiver.requests] == [method]


async def test_silence_after_the_request_is_unclear(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A receiver that read the request and says nothing may have taken it."""
    async with Receiver() as receiver:
        receiver.otherwise = ScriptedResponse(action="hang")
        outcome = await send(sink_for(receiver.url, renderer, timeout="200ms"), make_message(), record)
        assert len(receiver.requests) == 1
    assert isinstance(outcome, Unclear)
    assert "no complete response within 0.2 s (timeout)" in outcome.reason


async def test_nothing_was_written_to_a_closed_port(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, closed_port: int
) -> None:
    """A refused connection is retried: the message can't have arrived."""
    outcome = await send(sink_for(f"http://127.0.0.1:{closed_port}", renderer), make_message(), record)
    assert isinstance(outcome, RetryLater)


async def test_a_peer_that_does_not_speak_tls_is_retried(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A handshake that fails or never ends wrote nothing of the message."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        outcome = await send(sink_for(url, renderer, timeout="200ms"), make_message(), record)
    assert isinstance(outcome, RetryLater)
    async with Receiver() as receiver:
        url = receiver.url.replace("http:", "https:")
        outcome = await send(sink_for(url, renderer), make_message(), record)
    assert isinstance(outcome, RetryLater)


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        (
            {"method": "basic", "username": "cmc", "password": "s3cr3t:ü"},
            ("authorization", "Basic Y21jOnMzY3IzdDrDvA=="),
        ),
        ({"method": "bearer", "token": "s3cr3t"}, ("authorization", "Bearer s3cr3t")),
        ({"method": "header", "header": "X-Api-Key", "value": "s3cr3t"}, ("x-api-key", "s3cr3t")),
    ],
)
async def test_credentials_are_sent_and_never_told(
    auth: dict[str, str],
    sent: tuple[str, str],
    make_message: MakeMessage,
    renderer: Renderer,
    record: PartRecorder,
) -> None:
    """Each method sends its header; a refusal that echoes it does not bring it into the reason."""
    header, value = sent
    async with Receiver() as receiver:
        receiver.otherwise = ScriptedResponse(
            403, body=f"{header}: {value} at /hook?token=s3cr3tquery is not allowed"
        )
        outcome = await send(
            sink_for(
                receiver.url,
                renderer,
                path="/hook/s3cr3tpath?token=s3cr3tquery",
                auth=auth,
                headers={"X-Team": "s3cr3tteam"},
            ),
            make_message(),
            record,
        )
    [request] = receiver.requests
    assert request.headers[header] == value
    assert request.headers["x-team"] == "s3cr3tteam"
    assert request.path == "/hook/s3cr3tpath?token=s3cr3tquery"
    assert isinstance(outcome, Blocked)
    assert "s3cr3t" not in outcome.reason
    assert "Y21jOnMzY3IzdDrDvA" not in outcome.reason


async def test_redirects_are_not_followed(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A redirect could carry credentials elsewhere: nothing follows it, an operator must."""
    async with Receiver() as elsewhere, Receiver() as receiver:
        receiver.otherwise = ScriptedResponse(307, {"Location": f"{elsewhere.url}/moved"})
        outcome = await send(sink_for(receiver.url, renderer), make_message(), record)
        assert elsewhere.requests == []
    assert isinstance(outcome, Blocked)


async def test_a_long_document_says_what_it_leaves_out(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """Beyond max_body the last failures are left out and counted, and the link to all of them stays."""
    message = make_message(
        texts=tuple(f"{n}" + "é" * 500 for n in range(1000)), url="https://b.example.net/events/1"
    )
    async with Receiver() as receiver:
        outcome = await send(sink_for(receiver.url, renderer, max_body=100_000), message, record)
    assert isinstance(outcome, Sent)
    [request] = receiver.requests
    event = decode(request.body)
    assert 85_000 < len(request.body) <= 100_000
    assert event.failures == message.event.failures[: len(event.failures)]
    assert event.failures_omitted == 1000 - len(event.failures)
    assert event.url == message.event.url


async def test_a_document_that_can_not_shrink_is_rejected(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A document too large even without failures is a dead letter that names the setting; nothing is sent."""
    async with Receiver() as receiver:
        outcome = await send(
            sink_for(receiver.url, renderer, max_body=65536), make_message(error_text="x" * 70_000), record
        )
    assert isinstance(outcome, Rejected)
    assert "max_body" in outcome.reason
    assert receiver.requests == []


async def test_a_private_authority(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, certificates: Any
) -> None:
    """With its CA file a private server is trusted; without it nothing is sent."""
    async with await Receiver().start(tls=certificates.server) as receiver:
        trusted = sink_for(receiver.url, renderer, tls={"ca_file": str(certificates.ca_file)})
        stranger = sink_for(receiver.url, renderer)
        careless = sink_for(receiver.url, renderer, tls={"verify": False})
        assert isinstance(await send(trusted, make_message(), record), Sent)
        refused = await send(stranger, make_message(), record)
        assert isinstance(refused, Blocked)
        assert "certificate" in refused.reason
        assert len(receiver.requests) == 1
        assert isinstance(await send(careless, make_message(), record), Sent)


async def test_a_pinned_certificate(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, certificates: Any
) -> None:
    """The pinned certificate is trusted whoever signed it, also with a client's own; any other is not."""
    own = {"cert_file": str(certificates.client_cert), "key_file": str(certificates.client_key)}
    async with await Receiver().start(tls=certificates.mutual) as receiver:
        right = sink_for(receiver.url, renderer, tls={"fingerprint_sha256": certificates.fingerprint, **own})
        wrong = sink_for(receiver.url, renderer, tls={"fingerprint_sha256": "ab" * 32, **own})
        assert isinstance(await send(right, make_message(), record), Sent)
        assert isinstance(await send(wrong, make_message(), record), Blocked)
        assert len(receiver.requests) == 1


async def test_a_clients_own_certificate(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, certificates: Any
) -> None:
    """A receiver that asks for a certificate gets the client's, and nothing passes without it."""
    trust = {"ca_file": str(certificates.ca_file)}
    own = {"cert_file": str(certificates.client_cert), "key_file": str(certificates.client_key)}
    async with await Receiver().start(tls=certificates.mutual) as receiver:
        known = await send(sink_for(receiver.url, renderer, tls={**trust, **own}), make_message(), record)
        unknown = await send(sink_for(receiver.url, renderer, tls=trust), make_message(), record)
    assert isinstance(known, Sent)
    assert not isinstance(unknown, Sent)
    assert len(receiver.requests) == 1


async def test_a_tls_file_that_went_bad_blocks(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, tmp_path: Any
) -> None:
    """A file that can't be used is named, and the sink goes on by itself once it is mended."""
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    async with Receiver() as receiver:
        outcome = await send(
            sink_for(receiver.url, renderer, tls={"ca_file": str(bad)}), make_message(), record
        )
    assert isinstance(outcome, Blocked)
    assert "tls.ca_file" in outcome.reason


async def test_a_probe_tells_nobody_anything(renderer: Renderer) -> None:
    """A probe sends no message; refused credentials block, an unknown HEAD does not."""
    async with Receiver() as receiver:
        sink = sink_for(receiver.url, renderer, auth={"method": "bearer", "token": "s3cr3t"})
        found = {}
        for status in (200, 405, 404, 501, 401, 410, 302, 503):
            receiver.probe_status = status
            found[status] = type(await sink.probe())
        await sink.close()
        assert receiver.requests == []
        assert receiver.probes[0].headers["authorization"] == "Bearer s3cr3t"
    assert found == {
        200: Sent, 405: Sent, 404: Sent, 501: Sent, 401: Blocked, 410: Blocked, 302: Blocked, 503: RetryLater,
    }  # fmt: skip


async def test_a_probe_of_a_closed_port_is_for_later(renderer: Renderer, closed_port: int) -> None:
    """Nobody listens: that may pass."""
    sink = sink_for(f"http://127.0.0.1:{closed_port}", renderer)
    assert isinstance(await sink.probe(), RetryLater)
    await sink.close()


async def test_messages_go_side_by_side(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """One sink serves several deliveries at once."""
    async with Receiver() as receiver:
        receiver.otherwise = ScriptedResponse(action="hang")
        sink = sink_for(receiver.url, renderer)
        tasks = [asyncio.create_task(sink.send(make_message(f"key{n}"), record)) for n in range(3)]
        await receiver.wait(lambda seen: len(seen.requests) == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await sink.close()
    assert {request.id for request in receiver.requests} == {"key0", "key1", "key2"}


async def test_a_repeat_after_an_unclear_attempt_is_the_same_request(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """An attempt after an unclear one is simply sent: the webhook-id makes it recognisable."""
    message = msgspec.structs.replace(make_message(), unclear=True, attempt=2)
    async with Receiver() as receiver:
        outcome = await send(sink_for(receiver.url, renderer), message, record)
    assert isinstance(outcome, Sent)
    assert receiver.requests[0].id == message.key
