"""Test the JSON API: documented answers, filters, refused questions."""

import msgspec
import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import (
    Event,
    encode,
)
from cmc_notify.ports import (
    DeliveryFilter,
)
from support.web_fakes import FAILED, HOSTILE, Client, FakeLedger


async def test_the_api_answers_as_documented(client: Client) -> None:
    """Each read gives JSON with UTC times; an event is the event document itself."""
    read = {name: await (await client.get(f"/api/v1/{name}")).json() for name in
            ("status", "jobs", "failures", "deliveries", "events")}  # fmt: skip
    assert [each["name"] for each in read["status"]["controllers"]] == ["emea", "apac", "retired", "shaky"]
    assert read["status"]["controllers"][3]["failing_since"] == "2026-11-23T10:32:50Z"
    assert read["status"]["controllers"][0]["state"] == "unreachable"
    assert read["status"]["controllers"][0]["last_poll"] == "2026-11-23T10:28:20Z"
    assert read["status"]["ready"] is True
    sinks = read["status"]["sinks"]
    assert [(each["name"], each["pending"], each["blocked"], each["throttled"]) for each in sinks] == [
        ("chat", 2, None, None),
        ("mail", 0, "535 refused <i>", None),
        ("hook", 0, None, "HTTP 429 <b>"),
    ]
    assert read["jobs"]["jobs"][0]["counts"]["failed"] == 1
    assert read["failures"]["open"] == 1201
    [failure] = read["failures"]["failures"]
    assert failure["error_text"] == HOSTILE
    assert failure["silenced_by"] == ["s1"]
    assert failure["acknowledged"] == {"by": "Zoë <i>", "at": "2026-11-23T10:32:50Z"}
    assert [(each["sink"], each["open"]) for each in failure["tickets"]] == [
        ("evil", True), ("snow", True), ("old", False),
    ]  # fmt: skip
    assert read["jobs"]["jobs"][0]["acknowledged"] == failure["acknowledged"]
    assert [each["label"] for each in read["jobs"]["jobs"][0]["tickets"]] == ["INC<b>7", "CLOSED-1"]
    assert [each["id"] for each in read["status"]["silences"]] == ["s1"]
    assert read["status"]["tickets"][0] == {
        "sink": "snow", "subject": "job:emea:u1", "label": "INC<b>7", "open": True,
        "url": "https://snow.example/7?a=1&b=2", "controller": "emea", "job_id": 42,
        "changed": "2026-11-23T10:33:00Z",
    }  # fmt: skip
    assert read["deliveries"]["deliveries"][0]["state"] == "dead"
    assert msgspec.convert(read["events"]["events"][0], Event) == FAILED
    whole = await client.get(f"/api/v1/events/{FAILED.id}")
    assert await whole.read() == encode(FAILED)


async def test_api_filters_reach_the_store(client: Client, ledger: FakeLedger) -> None:
    """What is asked is what is looked up."""
    await client.get("/api/v1/jobs?controller=emea&open=true&limit=7")
    await client.get("/api/v1/deliveries?state=dead&sink=chat&job=42&event=e1&limit=9")
    await client.get("/api/v1/events?controller=emea&job=42&limit=3")
    assert ("jobs", "emea", True, 7) in ledger.asked
    assert ("events", 3, "emea", 42) in ledger.asked
    wanted = DeliveryFilter(state=DeliveryState.DEAD, sink="chat", job_id=42, event_id="e1", limit=9)
    assert wanted in ledger.asked


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("jobs?limt=5", "limt"),
        ("jobs?limit=0", "1 to 1000"),
        ("jobs?limit=1001", "1 to 1000"),
        ("jobs?limit=-1", "whole number"),
        ("jobs?limit=5&limit=6", "more than once"),
        ("jobs?open=maybe", "true or false"),
        ("deliveries?state=lost", "pending, sent, dead"),
        ("deliveries?job=99999999999999999999", "whole number"),
        ("status?x=1", "this path has no parameters"),
    ],
)
async def test_a_misspelt_question_is_refused(client: Client, question: str, complaint: str) -> None:
    """A filter that is not understood is never silently ignored."""
    answer = await client.get(f"/api/v1/{question}")
    assert answer.status == 400
    assert complaint in (await answer.json())["error"]
