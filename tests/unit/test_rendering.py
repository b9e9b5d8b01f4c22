"""Lookup, replacing of blocks, and the plain message that replaces a template that fails."""

import json
import time

import msgspec
import pytest

from cmc_notify.core.events import EventType, decode
from cmc_notify.core.samples import HOSTILE_TEXT, sample, samples
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Acknowledgement, Message, Purpose, Ticket
from cmc_notify.rendering import Renderer
from support.rendered_messages import DOCUMENTS, failed_event, message_of


@pytest.fixture
def faults() -> list[TemplateError]:
    """The errors passed to ``on_fallback``."""
    return []


@pytest.mark.parametrize(("sink", "extension"), DOCUMENTS)
@pytest.mark.parametrize("brief", [False, True])
def test_every_event_renders_for_every_sink(
    sink: str, extension: str, brief: bool, faults: list[TemplateError]
) -> None:
    """No sample, hostile ones included, needs the plain message; each names its controller or sink."""
    renderer = Renderer(on_fallback=faults.append)
    for event in samples():
        for marked in (False, True):
            message = Message(key="k", event=event, is_test=marked, unclear=marked)
            rendered = renderer.render(sink, extension, message, brief=brief)
            assert rendered.fallback is None
            assert (event.controller or event.sink or "?") in rendered.text
            assert ("test" in rendered.text.lower()) >= marked
    assert faults == []


@pytest.mark.parametrize(("sink", "extension"), [each for each in DOCUMENTS if each[1] != "subject"])
def test_a_failure_names_everything(sink: str, extension: str) -> None:
    """Each text, appliance and feature of a failure is in the message."""
    event = sample(EventType.JOB_FAILED)
    text = Renderer().render(sink, extension, message_of(event)).text
    for expected in ("QoS", "SNMP", "paris-edge-1", "V2AB0002", "V2AB0007", "is not defined", "10.20.7.1"):
        assert expected in text


def test_a_failure_reads_well() -> None:
    """The order, the wording and the local times of a failure message."""
    text = (
        Renderer(timezone="Europe/Paris")
        .render("console", "txt", message_of(sample(EventType.JOB_FAILED)))
        .text
    )
    assert text.startswith(
        "emea: push job 42 failed: 4 of 6 appliances (QoS, SNMP)\n\n  QoS failed on 2 appliances, 1 new: "
    )
    assert "    no error text given\n\n  Job:        push job 42\n" in text
    assert "  Completed:  2026-11-23 10:19:35 CET, took 7 min 5 s\n" in text
    assert (
        "\n\n  QoS failed on 2 appliances, 1 new: paris-edge-1 (V2AB0001, new), lyon-edge-1 (V2AB0002)\n"
        "    Rule 12: class 'voice' is not defined\n\n  SNMP failed on 1 appliance, new: V2AB0007\n"
    ) in text
    assert "    no answer from 10.20.7.1:22\n" in text
    assert "\nAll details: https://bridge.example.net/events/" in text


def test_a_pre_push_error_has_its_own_title() -> None:
    """A job that failed before any appliance says so in headline and body."""
    event = next(each for each in samples() if each.job and each.job.error_text)
    renderer = Renderer()
    assert renderer.render("email", "subject", message_of(event)).text == (
        "[cmc-notify] emea: push job 42 failed before it reached any appliance (QoS, SNMP)"
    )
    body = renderer.render("email", "txt", message_of(event)).text
    assert "The push failed before it reached any appliance:\nConfiguration database is locked" in body


def test_a_success_that_left_appliances_failed_says_so_in_its_headline() -> None:
    """A controller may call a job a success although appliances refused: headline and body tell it."""
    event = next(each for each in samples() if each.type is EventType.JOB_SUCCEEDED and each.failures)
    body = Renderer().render("email", "txt", message_of(event)).text
    assert "\n\nQoS failed on 1 appliance: paris-edge-1 (V2AB0001)\nRule 12: class 'voice'" in body
    assert Renderer().render("email", "subject", message_of(event)).text == (
        "[cmc-notify] emea: push job 42 succeeded, though 1 of 6 appliances failed (QoS, SNMP)"
    )


@pytest.mark.parametrize(
    ("sink", "extension"),
    [("slack", "mrkdwn"), ("slack", "card"), ("email", "txt"), ("email", "html"), ("console", "txt")],
)
def test_what_matters_comes_first(sink: str, extension: str) -> None:
    """A phone shows the headline, notes, what failed or works again, and only then the facts."""
    for event in samples():
        if not (event.job and event.job.targets.site_ids):
            continue
        text = Renderer().render(sink, extension, Message(key="k", event=event, is_test=True)).text
        named = [failure.feature for failure in event.failures]
        named += [recovery.feature for recovery in event.recoveries]
        cause = named[-1] if named else None
        order = [text.index(part) for part in ("[TEST]", "nothing has happened")]
        order += [text.index(f"{cause} failed on")] if event.failures and cause else []
        order += [text.index(f"{cause} works again")] if event.recoveries else []
        order += [text.index(event.job.error_text)] if event.job.error_text else []
        assert order == sorted(order)
        assert order[-1] < text.index("Targets")


def test_what_fails_while_a_job_runs_says_that_it_runs() -> None:
    """The headline of appliance.failed claims nothing of what earlier pushes left."""
    event = sample(EventType.APPLIANCE_FAILED)
    subject = Renderer().render("email", "subject", message_of(event)).text
    assert subject == "[cmc-notify] emea: push job 42: 3 appliances failed, job still running (QoS, SNMP)"
    assert event.job
    ended = msgspec.structs.replace(event, job=msgspec.structs.replace(event.job, status="Success"))
    assert "3 appliances failed (" in Renderer().render("email", "subject", message_of(ended)).text
    later = msgspec.structs.replace(event, failures=event.failures[:1])
    said = Renderer().render("email", "subject", message_of(later)).text
    assert "1 appliance failed, 3 in all, job still running" in said


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (EventType.APPLIANCE_FAILED, "emea: QoS failed on paris-edge-1 (V2AB0001), push job 42"),
        (EventType.APPLIANCE_RECOVERED, "emea: QoS works again on paris-edge-1 (V2AB0001), push job 42"),
    ],
)
def test_the_title_of_one_appliances_ticket_names_it(kind: EventType, title: str) -> None:
    """A list of tickets that all say "1 appliance failed" would help nobody."""
    event = sample(kind)
    one = msgspec.structs.replace(event, failures=event.failures[:1], recoveries=event.recoveries[:1])
    message = Message(key="k", event=one, subject="failure:emea:V2AB0001:3")
    assert Renderer().render_strictly("jira", "subject", message).strip() == title


def test_the_title_of_a_jobs_ticket_says_nothing_that_is_over_soon() -> None:
    """A title stays as it was written, long after the job has ended."""
    message = Message(key="k", event=sample(EventType.APPLIANCE_FAILED), subject="job:emea:42-1")
    text = Renderer().render_strictly("pagerduty", "subject", message)
    assert text.strip() == "emea: push job 42: 3 appliances failed (QoS, SNMP)"


def test_what_is_left_out_is_said() -> None:
    """Failures outside the route, cut off by a size limit, or still pending are stated in words."""
    event = msgspec.structs.replace(
        failed_event(1, str), failures_outside_route=3, failures_omitted=2000, url=None
    )
    assert event.job
    event = msgspec.structs.replace(event, job=msgspec.structs.replace(event.job, details_pending=True))
    message = Message(key="k", event=event, is_test=True, unclear=True)
    for sink, extension in DOCUMENTS[2:6]:
        text = Renderer().render(sink, extension, message).text
        assert "3 more failures outside this route or silenced." in text
        assert "2,000 more failures did not fit into this message" in text
        assert event.id in text
        assert "had not reported every result yet" in text
        assert "This may be a repeat" in text
        assert "[TEST]" in text
        assert "All details" not in text


def test_only_some_new_ones_are_marked() -> None:
    """Marks for new failures appear only where they tell something: not where all are new."""
    assert (
        "new" not in Renderer().render("slack", "mrkdwn", message_of(sample(EventType.APPLIANCE_FAILED))).text
    )


@pytest.mark.parametrize(("sink", "extension"), DOCUMENTS)
def test_ten_thousand_failures_render_quickly(sink: str, extension: str) -> None:
    """10,000 different texts of 500 characters are all there, in about half a second of processor time."""
    event = failed_event(10_000, lambda index: f"{index:05d} <&> " + "e" * 489)
    renderer = Renderer()
    begin = time.process_time()
    text = renderer.render(sink, extension, message_of(event)).text
    assert time.process_time() - begin < 3
    if extension != "subject":
        assert text.count("e" * 489) == 10_000


@pytest.mark.parametrize(("sink", "extension"), DOCUMENTS[:6])
def test_brief_shows_the_largest_and_counts_the_rest(sink: str, extension: str) -> None:
    """A brief document is small, begins with the largest group, and says what is attached."""
    event = failed_event(1000, lambda index: "common" if index % 2 else f"{index} " + HOSTILE_TEXT * 40)
    text = Renderer().render(sink, extension, message_of(event), brief=True).text
    assert len(text) < (12_000 if extension == "mrkdwn" else 120_000)
    if extension != "subject":
        assert "more error texts in the attached list." in text
        assert "more characters)" in text
        assert text.index("common") < text.index("more characters)")


def test_a_card_shows_how_far_the_job_is_and_what_stands_for_it() -> None:
    """State, progress, duration; who has taken it; its tickets, no text of which makes a link of its own."""
    message = Message(
        key="k",
        event=sample(EventType.JOB_PROGRESS),
        tickets=(
            Ticket("snow", "job:emea:42", "INC1 <!channel>", "https://snow.example.net/?a|b>", open=True),
            Ticket("snow", "job:emea:42", "INC2", "javascript:alert(1)", open=False),
        ),
        acknowledged=Acknowledgement("anna <@U1>", 1795425600.0),
    )
    text = Renderer().render_strictly("slack", "card", message, brief=True)
    assert text.startswith("🔵 emea: push job 42 in progress: 7 of 12 results (QoS, SNMP)\n")
    assert "*Status:* InProgress · ▓▓▓▓▓▓▓░░░░░ 58 % · 6 appliances · 7 min 30 s so far\n" in text
    assert "*Acknowledged:* anna &lt;@U1&gt;, 2026-11-23 09:20:00 UTC\n" in text
    link = "<https://snow.example.net/?a%7Cb%3E|INC1 &lt;!channel&gt;>"
    assert f"*Tickets:* {link} (snow, open), INC2 (snow, closed)\n" in text


@pytest.mark.parametrize(("purpose", "said"), [(Purpose.NOTIFY, True), (Purpose.FOLLOW, False)])
def test_a_card_says_what_its_thread_has(purpose: Purpose, *, said: bool) -> None:
    """Only where this very event goes into the thread: a mere update appears nowhere else."""
    message = Message(key="k", event=sample(EventType.JOB_FAILED), purpose=purpose)
    text = Renderer().render_strictly("slack", "card", message, brief=True)
    assert ("The thread has every failure" in text) is said
    assert "|All details>" in text


def test_the_webhook_gets_the_whole_document_even_in_brief() -> None:
    """The event document is never shortened; only a test carries one more key."""
    event = sample(EventType.JOB_FAILED)
    renderer = Renderer()
    assert decode(renderer.render("webhook", "json", message_of(event), brief=True).text) == event
    test = renderer.render("webhook", "json", Message(key="k", event=event, is_test=True)).text
    assert json.loads(test)["test"] is True
    assert decode(test) == event
