"""A job's card is within every limit, whatever its event holds."""

import re
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.samples import HOSTILE_TEXT, many_failures, sample, samples
from cmc_notify.ports import Acknowledgement, Message, Purpose, Rendered, Silenced, Ticket
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack_rules import refusal
from cmc_notify.sinks.slack import SlackSettings
from cmc_notify.sinks.slack.buttons import buttons
from cmc_notify.sinks.slack.composer import Composer
from cmc_notify.sinks.slack.limits import violations

RENDERER = Renderer()
GIVEN: dict[str, Any] = {"cancel": ["*"], "acknowledge": ["*"], "silence": ["*"]}
SETTINGS = SlackSettings.model_validate(
    {"token": "xoxb-1", "channel": "#netops", "app_token": "xapp-1", "allow": GIVEN}
)
WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from([HOSTILE_TEXT, "```", "&" * 300, "<!channel>", "\U0001f600" * 200, "x" * 20_000]),
)
TEXTS = st.one_of(st.none(), WORDS)
FAILURES = st.lists(st.builds(Failure, TEXTS, TEXTS, st.none(), TEXTS, TEXTS, new=st.booleans()), max_size=60)
TICKETS = st.lists(
    st.builds(Ticket, st.just("snow"), st.just("job:emea:42"), WORDS, TEXTS, open=st.booleans()), max_size=12
)


def card(message: Message) -> dict[str, Any]:
    """The card with every button that it can have."""
    return Composer(RENDERER, message, buttons(message, SETTINGS)).card()


def about(event: Event) -> Message:
    """An event of a job."""
    return Message(key="k", event=event, subject="job:emea:42-1795425000")


def assert_within(payload: dict[str, Any]) -> None:
    """Neither our own check nor the server's finds anything to refuse."""
    assert violations(payload) == []
    assert refusal(payload) is None


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any event of a job, with any names, texts and tickets."""
    event = sample(draw(st.sampled_from([kind for kind in EventType if sample(kind).job])))
    word, error = draw(WORDS), draw(TEXTS)
    assert event.job
    job = msgspec.structs.replace(event.job, operation=word, status=draw(WORDS), error_text=error)
    return Message(
        key="k",
        event=msgspec.structs.replace(event, job=job, failures=tuple(draw(FAILURES)), reason=error),
        subject="job:emea:42-1795425000",
        purpose=draw(st.sampled_from([Purpose.NOTIFY, Purpose.FOLLOW])),
        tickets=tuple(draw(TICKETS)),
        acknowledged=draw(st.sampled_from([None, Acknowledgement(word, 1795425600.0)])),
        silenced=draw(st.sampled_from([None, Silenced(word, 1795425600.0, with_job=False)])),
    )


@settings(max_examples=40)
@given(messages())
def test_a_card_is_within_every_limit(message: Message) -> None:
    """Any event, and every button that it can have."""
    assert_within(card(message))


def test_the_card_of_every_sample_is_within_every_limit() -> None:
    """The hostile ones, and ten thousand failures among them."""
    for event in [*samples(), many_failures()]:
        if event.job:
            assert_within(card(about(event)))


def test_a_notification_of_escaped_texts_is_within_its_limit() -> None:
    """Each ``&`` is five characters for Slack: a message of many is told like any other, not refused."""
    event = sample(EventType.JOB_FAILED)
    failures = tuple(Failure(f"S{n}", "&" * 80, n, "&" * 300, f"{n}{'&' * 300}", new=True) for n in range(3))
    payload = card(about(msgspec.structs.replace(event, failures=failures)))
    assert_within(payload)
    assert payload["text"].count("\n") == 3
    assert re.sub("&amp;", "", payload["text"]).count("&") == 0, "no escape is cut in two"


def test_a_template_that_goes_on_for_ever_is_cut_with_a_notice_and_keeps_the_buttons() -> None:
    """A card never cuts silently, and leaves room for its buttons."""

    class Wordy:
        def render(self, *_: object, **__: object) -> Rendered:
            return Rendered("Headline\n" + f"{'words ' * 60}\n---\n" * 100)

    found = about(sample(EventType.APPLIANCE_FAILED))
    payload = Composer(Wordy(), found, buttons(found, SETTINGS)).card()
    assert_within(payload)
    assert len(payload["blocks"]) < len(Composer(Wordy(), found).card()["blocks"])
    assert [block["type"] for block in payload["blocks"]][-2:] == ["section", "actions"]
    notice = payload["blocks"][-2]["text"]["text"]
    assert notice.startswith("This is not all: the thread has the whole. <https://bridge.example.net/")
