"""Test long lists: attached tables, and what a mail leaves out."""

import csv
import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cmc_notify.core.outcome import Sent
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Renderer
from cmc_notify.sinks.email.composer import LARGEST_MAIL
from support.email_sink import content, parsed, sink_for

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]


def rows_of(table: Any) -> list[dict[str, str]]:
    """An attached table as a spreadsheet reads it."""
    text = table.get_content()
    assert text.startswith("\ufeff")
    return [*csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))]


async def test_a_long_list_is_attached_whole(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """Past 100 KB the bodies are brief, and the attachment holds every failure with its whole text."""
    office = await start_post_office()
    texts = tuple(f"{number:02} é " + chr(97 + number % 26) * 20_000 for number in range(50))
    assert isinstance(await sink_for(office.port, renderer).send(make_message(texts=texts), record), Sent)
    mail = parsed(office.mails[0])
    attachment, table = mail.iter_attachments()
    assert attachment.get_filename() == "failures-job-42.txt"
    assert attachment.get_content_charset() == "utf-8"
    listed = attachment.get_content()
    assert all(text in listed for text in texts)
    assert [row["error_text"] for row in rows_of(table)] == list(texts)
    assert len(content(mail, "plain")) < 100_000
    assert len(content(mail, "html")) < 100_000


async def test_a_screenful_needs_no_table(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """With 20 failures the mail holds all; with one more, each is also a row of a table."""
    office = await start_post_office()
    sink = sink_for(office.port, renderer)
    texts = tuple(f"={number} é\r\nline" for number in range(21))
    for number in (20, 21):
        assert isinstance(await sink.send(make_message(texts=texts[:number]), record), Sent)
    without, with_table = map(parsed, office.mails)
    assert [*without.iter_attachments()] == []
    [table] = with_table.iter_attachments()
    assert table.get_filename() == "failures-job-42.csv"
    assert table.get_content_type() == "text/csv"
    assert rows_of(table)[3] == {
        "serial": "V2AB0004",
        "appliance": "edge-4",
        "feature_id": "3",
        "feature": "QoS",
        "error_text": "'=3 é\nline",
        "new": "yes",
        "controller": "emea",
        "job": "42",
    }
    assert [row["error_text"] for row in rows_of(table)] == ["'" + visible(text) for text in texts]


async def test_a_table_is_left_out_before_any_failure_is(
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the list alone fits, it is attached whole, without the table that would repeat it."""
    monkeypatch.setattr("cmc_notify.sinks.email.sink.LARGEST_MAIL", 1_000_000)
    office = await start_post_office()
    texts = tuple(f"{number:04}" + "x" * 2000 for number in range(300))
    assert isinstance(await sink_for(office.port, renderer).send(make_message(texts=texts), record), Sent)
    [attachment] = parsed(office.mails[0]).iter_attachments()
    assert attachment.get_content_type() == "text/plain"
    assert all(text in attachment.get_content() for text in texts)


async def test_past_a_mails_end_the_rest_is_counted(
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mail stays below its limit; its attachment says how many failures are missing and where they are."""
    assert LARGEST_MAIL == 10_000_000
    monkeypatch.setattr("cmc_notify.sinks.email.sink.LARGEST_MAIL", 1_000_000)  # so that the test is quick
    office = await start_post_office()
    texts = tuple(f"{number:04}" + "é" * 2000 for number in range(300))
    message = make_message(texts=texts, url="https://bridge.example.net/events/1?sig=x")
    assert isinstance(await sink_for(office.port, renderer).send(message, record), Sent)
    [envelope] = office.mails
    assert 850_000 < len(envelope.content) <= 1_000_000
    [attachment] = parsed(envelope).iter_attachments()
    listed = attachment.get_content()
    found = [line.rpartition(" ")[2] for line in listed.splitlines() if line.startswith("V2AB")]
    kept = len(found)
    assert 0 < kept < 300
    assert found == list(texts[:kept])
    assert f"{300 - kept} of 300 failures are not in this file" in listed
    assert "https://bridge.example.net/events/1?sig=x" in listed.splitlines()[-1]
