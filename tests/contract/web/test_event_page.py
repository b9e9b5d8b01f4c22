"""Test the page of one event: complete, harmless, and whole or visibly broken off."""

import asyncio
import re
import time
from collections.abc import Iterator

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestServer

from cmc_notify.core.events import (
    EventType,
    Failure,
)
from cmc_notify.core.text import visible
from support.web_fakes import (
    FAILED,
    HOSTILE,
    Client,
    FakeLedger,
    Page,
    assert_harmless,
    make_event,
)


async def test_the_event_page_shows_everything_and_runs_nothing(client: Client) -> None:
    """Every text of the event stands on its page whole, as text, the pre-push error in a place of its own."""
    answer = await client.get(f"/events/{FAILED.id}")
    assert answer.status == 200
    source = await answer.text()
    page = Page(source)
    assert_harmless(page, source)
    assert visible(HOSTILE) in page.text
    before_push = page.text.partition("Failed before the push reached any appliance")[2]
    assert before_push.lstrip().startswith("pre-push: </pre><script>")
    for shown in ("Push job 42 failed", "3 failed, 2 of them new", "paris-edge-1", "(V2AB0001)", "V2AB0002"):
        assert shown in page.text
    for shown in ("QoS <b>", "unnamed appliance", "no error text", "2026-11-23 10:33:20 UTC"):
        assert shown in page.text
    assert page.text.count(visible(HOSTILE)) == 2, "one group for equal errors, and the pre-push error"


@pytest.mark.parametrize("kind", list(EventType))
async def test_every_type_of_event_has_a_page(client: Client, ledger: FakeLedger, kind: EventType) -> None:
    """Whatever a message links to can be read."""
    event = make_event(kind)
    ledger.stored[event.id] = event
    answer = await client.get(f"/events/{event.id}")
    assert answer.status == 200
    source = await answer.text()
    assert_harmless(Page(source), source)
    assert source.rstrip().endswith("</html>")
    if kind is EventType.APPLIANCE_RECOVERED:
        assert "V2AB0009" in source


async def test_ten_thousand_different_failures_arrive_complete(client: Client, ledger: FakeLedger) -> None:
    """The page of a huge event holds every text, and the bridge answers others while it is written."""
    failures = [
        Failure(f"V{n:06}", f"edge-{n}", 3, "QoS", f"error {n:05} {'<&> ' * 100}", new=True)
        for n in range(10_000)
    ]
    event = make_event(EventType.APPLIANCE_FAILED, failures)
    ledger.stored[event.id] = event
    began = time.monotonic()
    big = asyncio.create_task(_read(client, f"/events/{event.id}"))
    slowest = 0.0
    while not big.done():
        asked = time.monotonic()
        assert (await client.get("/healthz")).status == 200
        slowest = max(slowest, time.monotonic() - asked)
    source = await big
    assert set(re.findall(r"error (\d{5}) ", source)) == {f"{n:05}" for n in range(10_000)}
    assert source.count("&lt;&amp;&gt; ") == 1_000_000
    assert time.monotonic() - began < 20
    assert slowest < 2


async def _read(client: Client, path: str) -> str:
    answer = await client.get(path)
    return await answer.text()


async def test_an_unknown_event_is_told_in_words(client: Client) -> None:
    """A link that outlived its event says so, in text or, below the API, in JSON."""
    answer = await client.get("/events/%3Cscript%3E")
    assert answer.status == 404
    text = await answer.text()
    assert "no such event" in text
    assert "script" not in text
    answer = await client.get("/api/v1/events/none")
    assert answer.status == 404
    assert "no such event" in (await answer.json())["error"]


async def test_head_gives_headers_only(app: web.Application) -> None:
    """A link preview may ask for the headers; not one byte of a body follows them."""
    async with TestServer(app) as server:
        for path in ("/", f"/events/{FAILED.id}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            headers = "Host: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
            writer.write(f"HEAD {path} HTTP/1.1\r\n{headers}\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b""


async def test_a_page_that_breaks_off_is_never_taken_for_whole(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails in the middle, the reader gets an error instead of a page that ends early."""

    def break_off(*_: object, **__: object) -> Iterator[bytes]:
        yield b"<p>the beginning</p>" * 10_000
        raise RuntimeError("internal detail")

    monkeypatch.setattr("cmc_notify.web.page_templates.Templates.render", break_off)
    answer = await client.get(f"/events/{FAILED.id}")
    with pytest.raises(ClientPayloadError):
        await asyncio.wait_for(answer.read(), 10)
