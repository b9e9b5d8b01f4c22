"""Whatever a mail has to hold: it stays within what servers and readers take, and no error text is lost."""

from datetime import UTC, datetime
from email import message_from_bytes, policy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_notify.core.events import Event, EventType, Failure, Recovery
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer
from cmc_notify.sinks.email import PLUGIN, EmailSettings, EmailSink
from cmc_notify.sinks.email.composer import LARGEST_BODY, LARGEST_MAIL, LONGEST_SUBJECT
from cmc_notify.sinks.fewer_failures import fit_failures


def _refuse(error: TemplateError) -> None:
    raise AssertionError(error)


SINK = PLUGIN.build(
    "mail",
    EmailSettings.model_validate({"host": "a.example", "from": "cmc@example.net", "to": "noc@example.net"}),
    Renderer(on_fallback=_refuse),
)
WITH_FAILURES = (
    EventType.JOB_FAILED,
    EventType.APPLIANCE_FAILED,
    EventType.JOB_SUCCEEDED,
    EventType.JOB_CANCELED,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400) | st.text(
    st.sampled_from("<>&\"'=-+@,;\n\r\t\x1b\u202e`{}%ab "), max_size=400
)
# What a text is made of, repeated to its length and told apart by a number.


def event(kind: EventType, text: str, *, number: int, length: int) -> Event:
    """An event with so many failures (or recoveries), each text of ``length`` characters."""
    filled = (text * (length // max(len(text), 1) + 1))[: length - 7]
    names = [f"V{index:05}" for index in range(number)]
    if kind is EventType.APPLIANCE_RECOVERED:
        recovered = (Recovery(name, text[:80], 3, "QoS", "2026-11-23T07:05:00Z", 40) for name in names)
        return msgspec.structs.replace(sample(kind), recoveries=tuple(recovered))
    failures = (Failure(name, text[:80], 3, "QoS", f"{name} {filled}", new=True) for name in names)
    return msgspec.structs.replace(sample(kind), failures=tuple(failures))


def missing(texts: list[str], whole: str) -> list[str]:
    """Those that are not there. Looked for behind the one before first: they come in their order."""
    place, lost = 0, []
    for text in texts:
        found = whole.find(text, place)
        if found < 0 and text not in whole:
            lost.append(text)
        place = max(found, place)
    return lost


def assert_complete(told: Event) -> None:
    """The mail as sent is within every limit, parses without complaint, and has every text."""
    assert isinstance(SINK, EmailSink)
    document = fit_failures(Message(key="k", event=told), SINK._composer(), LARGEST_MAIL)
    assert document is not None
    assert document.isascii()
    assert len(document) <= LARGEST_MAIL
    assert max(map(len, document.split(b"\r\n"))) <= 998
    mail = message_from_bytes(document, policy=policy.default)
    assert not mail.defects
    assert len(mail["Subject"]) <= LONGEST_SUBJECT
    plain, page = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert page is not None
    files = {str(part.get_filename()): part.get_content() for part in mail.iter_attachments()}
    texts = [visible(failure.error_text or "") for failure in told.failures]
    texts += [recovery.serial or "" for recovery in told.recoveries]
    whole = plain.get_content().replace("\r\n", "\n")
    listed = next((text for name, text in files.items() if name.endswith(".txt")), whole)
    assert missing(texts, listed) == []
    for body in (plain, page):
        assert len(body.get_content().encode()) <= LARGEST_BODY + (0 if listed is whole else 20_000)
    tables = [text for name, text in files.items() if name.endswith(".csv")]
    for table in tables:
        assert missing([text.replace('"', '""') for text in texts], table) == []


@pytest.mark.parametrize("kind", [*WITH_FAILURES, EventType.APPLIANCE_RECOVERED])
@settings(max_examples=8)
@given(text=TEXTS, number=st.sampled_from([1, 50]), length=st.sampled_from([20, 500]))
def test_every_text_is_found(kind: EventType, text: str, number: int, length: int) -> None:
    """One failure or fifty, plain or hostile, in an event of any kind: all in the text or in its list."""
    assert_complete(event(kind, text, number=number, length=length))


@pytest.mark.parametrize("text", ["the push timed out ", HOSTILE_TEXT], ids=["plain", "hostile"])
def test_long_texts_are_found(text: str) -> None:
    """Fifty of 20 KB."""
    assert_complete(event(EventType.JOB_FAILED, text, number=50, length=20_000))


def test_ten_thousand_texts_are_found() -> None:
    """10,000 of 500 characters, each with everything that could break out, fit into one mail."""
    assert_complete(event(EventType.JOB_FAILED, HOSTILE_TEXT, number=10_000, length=500))


@pytest.mark.parametrize("kind", EventType)
def test_every_event_keeps_within_the_limits(kind: EventType) -> None:
    """Also those that have no failures."""
    assert_complete(sample(kind))


def test_the_date_is_that_of_the_attempt() -> None:
    """A mail that waited a night in the outbox does not look a night old in the mailbox."""
    assert isinstance(SINK, EmailSink)
    document = SINK.preview(Message(key="k", event=sample(EventType.JOB_FAILED)))[-1].text
    date = message_from_bytes(document.encode(), policy=policy.default)["Date"].datetime
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60
