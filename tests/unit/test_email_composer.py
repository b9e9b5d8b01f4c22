"""Mails as composed: headers, threads, lines, whatever the texts hold."""

import base64
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from cmc_notify.core.events import (
    ApplianceCounts,
    Counts,
    Event,
    EventType,
    JobInfo,
    Targets,
)
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.sinks.email.composer import compose
from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.thread import thread_index

GIVEN = {"host": "smtp.example.net", "from": "CMC <cmc@example.net>", "to": "noc@example.net"}
NOW = datetime(2026, 11, 23, 9, 20, tzinfo=UTC)


class Fixed:
    """A renderer that says the same each time."""

    def __init__(self, subject: str = "a subject", body: str = "a body") -> None:
        self.subject = subject
        self.body = body

    def render(
        self,
        _sink: str,
        extension: str,
        _message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """The subject, or the body (its beginning, if brief)."""
        assert size_limits is None
        text = self.subject if extension == "subject" else self.body
        return Rendered(text[:100] if brief else text)


def message(
    *, job_id: int | None = 42, created: str | None = "2026-11-23T09:00:00Z", controller: str = "emea"
) -> Message:
    """A message about a job, or about a controller."""
    job = JobInfo(
        id=job_id or 0,
        idx=None,
        timestamp=None,
        operation="push",
        status="Failed",
        previous_status=None,
        created=created,
        pushed=None,
        completed=None,
        backup=None,
        error_text=None,
        features=(),
        targets=Targets(),
        counts=Counts(0, 0, 0, 0, 0, ApplianceCounts(0, 0)),
    )
    event = Event(
        id="1",
        type=EventType.JOB_FAILED,
        time="2026-11-23T09:20:00Z",
        severity="error",
        controller=controller,
        job=job if job_id else None,
    )
    return Message(key="key1", event=event)


def composed(made: Message, renderer: Fixed | None = None) -> EmailMessage:
    """The mail as a receiver parses it."""
    settings = EmailSettings.model_validate(GIVEN)
    document = compose(made, settings, renderer or Fixed(), date=NOW)
    assert document.isascii()
    assert max(map(len, document.split(b"\r\n"))) <= 998
    return message_from_bytes(document, policy=policy.default)


def test_the_headers_that_let_machines_behave() -> None:
    """A mail names itself, its thread and its list, and asks not to be answered."""
    mail = composed(message())
    assert mail["Message-ID"] == "<key1@example.net>"
    assert mail["In-Reply-To"] == mail["References"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "cmc-notify emea <emea.cmc-notify.example.net>"
    assert mail["Date"].datetime == NOW
    assert mail["From"] == "CMC <cmc@example.net>"
    assert mail["X-Cmc-Notify-Event"] == "job.failed"


def test_one_thread_for_one_job() -> None:
    """A job's mails share a thread; another job, a reused id or another controller starts its own."""
    roots = {
        composed(made)["References"]
        for made in (
            message(),
            message(job_id=43),
            message(created="2026-11-24T09:00:00Z"),
            message(controller="apac"),
            message(job_id=None),
        )
    }
    assert len(roots) == 5
    later = msgspec.structs.replace(message(), key="key2")
    assert composed(later)["References"] == composed(message())["References"]


def test_outlook_finds_thread_and_order() -> None:
    """The index begins with the thread's own 22 bytes and ends with how long after it the mail was sent."""
    began = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    same, other = message(), message(job_id=43)
    later = [began + timedelta(minutes=1), began + timedelta(hours=5), began + timedelta(days=900)]
    made = [base64.b64decode(thread_index(same, date)) for date in later]
    assert {index[:22] for index in made} == {made[0][:22]}
    assert made[0][:1] == b"\x01"
    unix_epoch = 116_444_736_000_000_000  # as a FILETIME
    assert int.from_bytes(made[0][1:6], "big") == (unix_epoch + int(began.timestamp()) * 10_000_000) >> 24
    levels = [int.from_bytes(index[22:26], "big") for index in made]
    assert levels == sorted(levels)
    assert levels[1] == 5 * 3600 * 10_000_000 >> 18
    assert levels[2] == (1 << 31) | (900 * 86400 * 10_000_000 >> 23)
    assert base64.b64decode(thread_index(other, later[0]))[6:22] != made[0][6:22]
    assert base64.b64decode(thread_index(same, began - timedelta(days=1)))[22:26] == bytes(4)


@given(subject=st.text())
def test_no_subject_breaks_out_of_its_header(subject: str) -> None:
    """Whatever a template makes of an error text, the subject stays one header."""
    mail = composed(message(), Fixed(subject=f"{subject}\r\nBcc: evil@example.org"))
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == "<key1@example.net>"
    assert len(mail["Subject"]) <= 250


@given(words=st.lists(st.text("ab:()é", min_size=1, max_size=20), min_size=1, max_size=20))
@example(words=["[cmc-notify]", "x" * 60])
@example(words=["é", "x" * 65])
def test_a_subject_begins_on_its_line(words: list[str]) -> None:
    """Of whatever length it is, no reader or filter finds a space or an empty line in front of it."""
    subject = " ".join(words)[:250].strip() or "a"
    document = compose(message(), EmailSettings.model_validate(GIVEN), Fixed(subject=subject), date=NOW)
    assert document.isascii()
    lines = document.split(b"\r\n\r\n")[0].split(b"\r\n")
    [line] = [line for line in lines if line.startswith(b"Subject:")]
    assert len(line) > len(b"Subject: ")
    assert all(len(line) <= 76 for line in lines if b"=?" in line)
    assert message_from_bytes(document, policy=policy.default)["Subject"] == subject


@pytest.mark.parametrize(
    "encoded", ["q?x=0d=0aBcc:_evil@example.org", "q?x=0aBcc:_evil@example.org", "q?=ff=fe", "q?=00"]
)
def test_no_encoded_word_in_a_text_is_decoded(encoded: str) -> None:
    """A status that looks like an encoded header neither becomes a header nor keeps the mail from going."""
    mail = composed(message(), Fixed(subject=f"job is =?utf-8?{encoded}?= now"))
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == "<key1@example.net>"
    assert mail["Subject"] == f"job is =\u200b?utf-8?{encoded}?= now"


@given(body=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=300))
def test_any_body_arrives_exactly(body: str) -> None:
    """Text and HTML come out as they were rendered, but for a line break at the end."""
    mail = composed(message(), Fixed(body=body))
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert part.get_content().replace("\r\n", "\n") in (body, f"{body}\n")


def test_a_line_without_end_is_attached_whole() -> None:
    """One line of 200 KB goes into an attachment with nothing lost."""
    body = "é" * 100_000 + "\ud800 the end"
    [attachment] = composed(message(job_id=None), Fixed(body=body)).iter_attachments()
    assert attachment.get_content() == body.replace("\ud800", "?") + "\n"
    assert attachment.get_filename() == "job-failed.txt"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": []}, "at least 1 item"),
        ({"to": "noc"}, "not a mail address"),
        ({"to": "noc@example.net\r\nBcc: evil@example.org"}, "not a mail address"),
        ({"to": ["noc@exämple.net"]}, "not a mail address"),
        ({"from": "CMC <cmc@example.net"}, "not a mail address"),
        ({"username": "cmc"}, "belong together"),
        ({"password": "s3cr3t"}, "belong together"),
        ({"tls": "none", "username": "cmc", "password": "s3cr3t"}, "send the password unencrypted"),
        ({"tls": "ssl"}, "starttls"),
        ({"proxy": "http://u:s3cr3t@proxy.example.net:3128"}, "HTTP proxy"),
        ({"host": "smtp.example.net/s3cr3t"}, "host"),
        ({"host": "smtp..example.net"}, "host"),
        ({"host": "x" * 64 + ".example.net"}, "host"),
        ({"port": 0}, "port"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], said: str) -> None:
    """Each mistake is named with its remedy, and no secret is in the message."""
    with pytest.raises(ValidationError) as caught:
        EmailSettings.model_validate({**GIVEN, **given})
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "port", "mode"),
    [
        ({}, 587, "starttls"),
        ({"tls": "tls"}, 465, "tls"),
        ({"tls": {"mode": "tls", "verify": False}}, 465, "tls"),
        ({"tls": {"verify": False}}, 587, "starttls"),
        ({"tls": "tls", "port": 8465}, 8465, "tls"),
        ({"tls": "none", "port": None}, 587, "none"),
    ],
)
def test_tls_in_a_word_or_a_mapping(given: dict[str, Any], port: int, mode: str) -> None:
    """``tls`` is one word, or a mapping with what every sink's takes; the usual port follows it."""
    settings = EmailSettings.model_validate({**GIVEN, **given})
    assert (settings.port, settings.tls.mode) == (port, mode)


def test_everybody_gets_it_once() -> None:
    """A reader who is named twice is one recipient."""
    settings = EmailSettings.model_validate(
        {**GIVEN, "to": ["a@example.net", "A <a@example.net>"], "cc": ["b@example.net", "a@example.net"]}
    )
    assert settings.recipients == ("a@example.net", "b@example.net")


def test_no_secret_in_a_repr() -> None:
    """Neither settings nor their proxy show a password."""
    settings = EmailSettings.model_validate({**GIVEN, "username": "cmc", "password": "s3cr3t"})
    assert "s3cr3t" not in repr(settings)
    EmailSettings.model_json_schema()
