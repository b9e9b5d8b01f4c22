"""Test the first page: the whole bridge at one glance."""

import re

import msgspec

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.text import visible
from support.web_fakes import FAILED, HOSTILE, Client, FakeLedger, Page, assert_harmless


async def test_the_first_page_shows_the_whole_bridge(client: Client) -> None:
    """Controllers, jobs, failures, deliveries, what could not be read: all there, all harmless."""
    answer = await client.get("/")
    assert answer.status == 200
    source = await answer.text()
    page = Page(source)
    assert_harmless(page, source)
    for shown in (
        "emea",
        "unreachable",
        "apac",
        "not polled yet",
        "retired",
        "not configured here",
        "5 minutes ago",
    ):
        assert shown in page.text
    for shown in (
        "push 42",
        "awaiting details",
        "1 failed",
        "paris-edge-1",
        "1201",
        "blocked",
        "535 refused <i>",
        "throttled",
        "HTTP 429 <b>",
    ):
        assert shown in page.text
    for shown in ("job.failed", "dead", "after 3 attempts", "Odd<i>", visible(f"job 7: {HOSTILE}")):
        assert shown in page.text
    assert f'href="events/{FAILED.id}"' in source
    assert re.search(r"polls fail</span>\s*since <time[^>]*>2026-11-23 10:32:50 UTC", source)
    assert source.count(">ok<") == 2  # a controller that answered, a sink that nothing holds


async def test_pages_show_tickets_silences_and_who_has_taken_what(client: Client) -> None:
    """On the first page and on the event's; an address that is not http(s) is never a link."""
    for path in ("/", f"/events/{FAILED.id}"):
        source = await (await client.get(path)).text()
        page = Page(source)
        assert_harmless(page, source)
        assert 'href="https://snow.example/7?a=1&amp;b=2"' in source
        assert "javascript:" not in source
        for shown in ("INC<b>7", "acknowledged by Zoë <i>", "CLOSED-1 closed"):
            assert shown in page.text
    source = await (await client.get("/")).text()
    page = Page(source)
    for shown in ("serial=V2AB0001", "3 h 12 min left", "Zoë <b>", "controller=apac", "starts in 1 min"):
        assert shown in page.text
    failures = page.text.partition("Open failures 1201")[2].partition("Open tickets")[0]
    assert "silenced" in failures
    assert "nobody was notified" not in failures


async def test_a_silenced_event_says_so_on_its_page(client: Client, ledger: FakeLedger) -> None:
    """Nobody was told, and by whose wish."""
    silenced = {"sink": "", "state": DeliveryState.SILENCED, "last_error": f"silence s1 by ops: {HOSTILE}"}
    row = ledger.delivery_rows[0]
    delivery = msgspec.structs.replace(row.delivery, **silenced)
    ledger.delivery_rows = [msgspec.structs.replace(row, delivery=delivery)]
    unrouted = msgspec.structs.replace(delivery, state=DeliveryState.UNROUTED, last_error=None)
    recovered = msgspec.structs.replace(row, delivery=unrouted, event_type="appliance.recovered")
    ledger.delivery_rows += [recovered, msgspec.structs.replace(row, delivery=unrouted)]
    ledger.incident = msgspec.structs.replace(ledger.incident, notified={})
    page = Page(await (await client.get(f"/events/{FAILED.id}")).text())
    assert f"Nobody was notified: silence s1 by ops: {visible(HOSTILE)}" in page.text
    first = Page(await (await client.get("/")).text()).text
    for why in ("(nobody was notified)", "nobody was notified of the failure", "no route matched"):
        assert why in first


async def test_pages_carry_a_policy_without_scripts(client: Client) -> None:
    """The browser is told to run nothing, load nothing, frame nothing, keep nothing."""
    for path in ("/", f"/events/{FAILED.id}"):
        headers = (await client.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
