"""The email sink against a real mail server on loopback."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Renderer
from support.email_sink import HOSTILE, content, parsed, sink_for

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]


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
