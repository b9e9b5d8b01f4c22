"""The email sink against a real mail server on loopback."""

import asyncio
import csv
import io
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Posting, Renderer
from cmc_notify.simulator.mailbox import Mail, Mailbox
from cmc_notify.sinks.email import PLUGIN, EmailSettings, EmailSink
from cmc_notify.sinks.email.composer import LARGEST_MAIL

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]
HOSTILE = (
    "quotes \" ' \\ and\nlines\r\nand \t tabs\n.\n..two dots\nFrom here",
    "controls \x01\x07\x1b[31m\x7f\x85 and \u202e override \u2028 line",
    "<!channel> <@U1> {{ 7*7 }} </script><b>&amp; =3D =",
    "NUL \u2400 and \ufffd and \U0001f4a5 and " + "x" * 20_000,
    "Subject: forged\r\nBcc: evil@example.org\r\n\r\nbody",
)


def sink_for(port: int, renderer: Renderer, **more: Any) -> EmailSink:
    """An email sink built as the application builds it; two readers."""
    given = {
        "type": "email",
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "from": "CMC bridge <cmc@example.net>",
        "to": ["noc@example.net", "Ops <ops@example.net>"],
        **more,
    }
    sink = PLUGIN.build("mail", EmailSettings.model_validate(given), renderer)
    assert isinstance(sink, EmailSink)
    return sink


def parsed(envelope: Any) -> EmailMessage:
    """The mail that a server took."""
    return message_from_bytes(envelope.content, policy=policy.default)


class _Words(HTMLParser):
    """The text that a reader of HTML sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def content(mail: EmailMessage, kind: str) -> str:
    """One alternative as a reader gets it."""
    part = mail.get_body((kind,))
    assert part is not None
    text: str = part.get_content().replace("\r\n", "\n")
    return text if kind == "plain" else _Words(text).text


def rows_of(table: Any) -> list[dict[str, str]]:
    """An attached table as a spreadsheet reads it."""
    text = table.get_content()
    assert text.startswith("\ufeff")
    return [*csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))]


async def test_hostile_texts_arrive_complete_and_harmless(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """Both alternatives hold every text whole, and none becomes a header, a tag or the end of the mail."""
    office = await start_post_office()
    outcome = await sink_for(office.port, renderer).send(make_message(texts=HOSTILE), record)
    assert outcome == Sent("250 queued as 7")
    [envelope] = office.mails
    assert envelope.rcpt_tos == ["noc@example.net", "ops@example.net"]
    assert all(len(line) <= 998 for line in envelope.content.split(b"\r\n"))
    assert envelope.content.isascii()
    mail = parsed(envelope)
    assert mail["Bcc"] is None
    for text in HOSTILE:
        for kind in ("plain", "html"):
            assert visible(text) in content(mail, kind)
    assert record.recorded == {
        "rcpt:noc@example.net": "250 queued as 7",
        "rcpt:ops@example.net": "250 queued as 7",
    }


async def test_a_refused_reader_does_not_hold_up_the_others(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """One unknown address is named in the receipt; the others get their mail."""
    office = await start_post_office()
    office.answers["ops@example.net"] = "550 5.1.1 no such user"
    outcome = await sink_for(office.port, renderer).send(make_message(), record)
    assert outcome == Sent("250 queued as 7; refused: ops@example.net (550 5.1.1 no such user)")
    assert office.mails[0].rcpt_tos == ["noc@example.net"]
    assert set(record.recorded) == {"rcpt:noc@example.net"}


async def test_only_those_put_off_are_tried_again(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """A reader who was served gets no second copy when the mail is sent again for the others."""
    office = await start_post_office()
    office.answers["ops@example.net"] = "451 4.7.1 greylisted"
    sink = sink_for(office.port, renderer)
    message = make_message()
    outcome = await sink.send(message, record)
    assert outcome == RetryLater("deferred: ops@example.net (451 4.7.1 greylisted)")
    del office.answers["ops@example.net"]
    assert isinstance(await sink.send(record.resumed(message), record), Sent)
    assert [envelope.rcpt_tos for envelope in office.mails] == [["noc@example.net"], ["ops@example.net"]]
    assert await sink.send(record.resumed(message), record) == Sent()
    assert len(office.mails) == 2


async def test_a_reader_refused_after_others_were_served(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """Put off first and refused later, a reader is named in the receipt; the mail did reach the others."""
    office = await start_post_office()
    office.answers["ops@example.net"] = "451 greylisted"
    sink = sink_for(office.port, renderer)
    message = make_message()
    assert isinstance(await sink.send(message, record), RetryLater)
    office.answers["ops@example.net"] = "550 no such user"
    outcome = await sink.send(record.resumed(message), record)
    assert outcome == Sent("refused: ops@example.net (550 no such user)")
    assert len(office.mails) == 1


@pytest.mark.parametrize(
    "case",
    [
        ({"noc@example.net": "550 no", "ops@example.net": "553 no"}, Rejected),
        ({"noc@example.net": "550 no", "ops@example.net": "450 busy"}, RetryLater),
        ({"MAIL": "451 later"}, RetryLater),
        ({"MAIL": "553 not your address"}, Blocked),
        ({"MAIL": "530 sign in first"}, Blocked),
        ({"MAIL": "552 too large"}, Rejected),
        ({"DATA": "452 disk full"}, RetryLater),
        ({"DATA": "554 looks like spam"}, Rejected),
        ({"DATA": "lost"}, Unclear),
    ],
)
async def test_answers(
    case: tuple[dict[str, str], type[SendOutcome]],
    make_message: MakeMessage,
    renderer: Renderer,
    record: Any,
    start_post_office: StartPostOffice,
) -> None:
    """Each reply of the server has its outcome, and only served recipients are recorded."""
    answers, expected = case
    office = await start_post_office()
    office.answers.update(answers)
    outcome = await sink_for(office.port, renderer).send(make_message(), record)
    assert isinstance(outcome, expected)
    assert record.recorded == {}


async def test_a_repeat_has_the_same_message_id(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """After contact was lost behind the final dot, the second copy can be recognised."""
    office = await start_post_office()
    sink = sink_for(office.port, renderer)
    office.answers["DATA"] = "lost"
    assert isinstance(await sink.send(make_message(), record), Unclear)
    del office.answers["DATA"]
    assert isinstance(await sink.send(make_message(), record), Sent)
    assert isinstance(await sink.send(make_message(key="another"), record), Sent)
    ids = [parsed(envelope)["Message-ID"] for envelope in office.mails]
    assert ids[0] == ids[1] == "<0193d1c2e5a84f10b7@example.net>"
    assert ids[2] != ids[0]


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


async def test_a_cancelled_send_leaves_nothing_behind(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """Cancelled in the middle of a mail, the connection is gone at once and the sink goes on."""
    office = await start_post_office()
    office.answers["DATA"] = "silent"
    sink = sink_for(office.port, renderer)
    task = asyncio.create_task(sink.send(make_message(), record))
    await office.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert record.recorded == {}
    del office.answers["DATA"]
    assert isinstance(await sink.send(make_message(), record), Sent)


async def test_a_cancelled_mails_connection_is_cut(
    make_message: MakeMessage, renderer: Renderer, record: Any
) -> None:
    """A cancelled mail's connection is cut at once, without another word."""
    goodbye: asyncio.Queue[bytes] = asyncio.Queue()
    asked = asyncio.Event()

    async def stop_at_the_sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 slow\r\n")
        await reader.readline()
        writer.write(b"250 slow\r\n")
        await reader.readline()
        asked.set()
        with suppress(ConnectionError):
            await goodbye.put(await reader.read())
        writer.close()

    async with await asyncio.start_server(stop_at_the_sender, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        task = asyncio.create_task(sink_for(port, renderer).send(make_message(), record))
        await asked.wait()
        task.cancel()
        async with asyncio.timeout(5):
            assert await goodbye.get() == b""
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_store_that_fails_is_not_the_servers_fault(
    make_message: MakeMessage, renderer: Renderer, start_post_office: StartPostOffice
) -> None:
    """If an accepted part can't be recorded, the store's own error is raised; it is not an outcome."""
    office = await start_post_office()

    async def broken(_part: str, _receipt: str, *, posting: Posting | None = None) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await sink_for(office.port, renderer).send(make_message(), broken)


async def test_a_probe_sends_no_mail(renderer: Renderer, start_post_office: StartPostOffice) -> None:
    """A probe names sender and recipients and leaves; it names refused ones, and blocks if all are."""
    office = await start_post_office()
    sink = sink_for(office.port, renderer)
    assert await sink.probe() == Sent()
    assert office.goodbyes == 1
    office.answers["ops@example.net"] = "550 no such user"
    assert await sink.probe() == Sent("refused: ops@example.net (550 no such user)")
    office.answers["noc@example.net"] = "450 busy"
    assert isinstance(await sink.probe(), RetryLater)
    office.answers["noc@example.net"] = "550 no such user"
    assert isinstance(await sink.probe(), Blocked)
    assert not office.mails


async def test_the_demos_mailbox_keeps_mails_whole(
    make_message: MakeMessage, renderer: Renderer, record: Any
) -> None:
    """The small server of the demo shows what was sent, stuffed dots removed, and ends cleanly."""
    shown: list[Mail] = []
    async with Mailbox(on_mail=shown.append) as mailbox:
        sink = sink_for(mailbox.port, renderer, cc="cc@example.net", reply_to="help@example.net")
        for number in range(2):
            message = msgspec.structs.replace(make_message(texts=HOSTILE), key=f"key{number}")
            assert isinstance(await sink.send(message, record), Sent)
        await mailbox.wait(lambda box: len(box.mails) == 2)
        _, writer = await asyncio.open_connection("127.0.0.1", mailbox.port)
        writer.close()
    mail = shown[0].message
    assert shown[0].recipients == ("noc@example.net", "ops@example.net", "cc@example.net")
    assert mail["Cc"] == "cc@example.net"
    assert mail["Reply-To"] == "help@example.net"
    assert all(visible(text) in content(mail, "plain") for text in HOSTILE)
