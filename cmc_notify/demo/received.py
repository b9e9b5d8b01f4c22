"""Everything that the receivers got, as readers see it: a chat message, a ticket request, a mail."""

import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from cmc_notify.simulator.mailbox import Mail
from cmc_notify.simulator.receiver import Received
from cmc_notify.simulator.slack import SlackMessage

Style = Literal["headline", "plain", "label", "quote", "link"]

_LINK = re.compile(r"<([^|>]+)\|([^>]+)>")
_REMARK = re.compile(r"_(.+)_")
_LABELLED = re.compile(r"\*([^*]+)\*(.*)", re.DOTALL)
_MAIL_LINES = 2


class Piece(Struct, frozen=True):
    """Some text of a line, as the medium shows it. A link has ``url``."""

    text: str
    style: Style = "plain"
    url: str | None = None


Line = tuple[Piece, ...]


class Arrival(Struct, frozen=True):
    """One message at a receiver."""

    receiver: Literal["chat", "tickets", "mail"]
    title: str
    lines: tuple[Line, ...]


def chat_arrival(message: SlackMessage, channel: str) -> Arrival:
    """Return a message, a reply or a file in a thread, as the channel shows it."""
    thread = ", in the thread and the channel" if message.broadcast else ", in the thread"
    title = f"#{channel}{thread if message.thread_ts else ''}"
    files = tuple(
        (Piece(f"📎 {file.name}", "headline"), Piece(f" ({len(file.content or b''):,} bytes)"))
        for file in message.files
    )
    return Arrival("chat", title, (*_message_lines(message), *files))


def chat_update(message: SlackMessage, channel: str) -> Arrival:
    """Return an updated message: its first lines now."""
    lines = tuple(_message_lines(message))
    state = next((line for line in lines if line[0].style == "label"), ())
    return Arrival("chat", f"#{channel}, updated", (lines[0], *([state] if state else [])))


def ticket_arrival(request: Received) -> Arrival:
    """Return one request of the webhook in two lines, with the check of its signature."""
    document = request.document
    job = document["job"]
    notified = [f"job {job['id']} {job['status']}"] if job else []
    notified += [
        f"{count} {one if count == 1 else several}"
        for one, several in (("failure", "failures"), ("recovery", "recoveries"))
        if (count := len(document[several]))
    ]
    signature = f"signature refused: {request.problem}" if request.problem else "signature verified"
    first = (Piece(document["type"], "headline"), Piece(f"  {document['severity']} · {', '.join(notified)}"))
    second = (Piece(f"webhook-id {request.id} · {signature} · response {request.status}", "quote"),)
    return Arrival("tickets", f"{request.method} {request.path}", (first, second))


def mail_arrival(mail: Mail) -> Arrival:
    """Return the subject, the attachments, and the first lines of the text."""
    message = mail.message
    body = message.get_body(("plain",))
    text = str(body.get_content()) if body else ""
    # The first line repeats the subject; what follows are the facts.
    facts = [line for line in text.splitlines()[1:] if line.strip()]
    lines: list[Line] = [(Piece(str(message["Subject"]).strip(), "headline"),)]
    lines += [(Piece(line.strip(), "quote"),) for line in facts[:_MAIL_LINES]]
    lines += [(Piece(f"📎 {part.get_filename()}"),) for part in message.iter_attachments()]
    return Arrival("mail", f"to {', '.join(mail.recipients)}", tuple(lines))


def _message_lines(message: SlackMessage) -> Iterator[Line]:
    for block in message.raw.get("blocks") or []:
        texts = [block.get("text"), *block.get("elements", [])]
        for part in texts:
            if not isinstance(part, dict):
                continue
            if block["type"] == "header":
                yield (Piece(part["text"], "headline"),)
            else:
                yield from _mrkdwn_lines(part["text"])


def _mrkdwn_lines(text: str) -> Iterator[Line]:
    """Yield lines from the part of mrkdwn that the built-in templates use."""
    fenced = False
    for line in text.split("\n"):
        if line.strip() == "```":
            fenced = not fenced
        elif fenced:
            yield (Piece(f"  {_unescape(line)}", "quote"),)
        elif link := _LINK.fullmatch(line.strip()):
            yield (Piece(_unescape(link[2]), "link", _unescape(link[1])),)
        elif remark := _REMARK.fullmatch(line):
            yield (Piece(_unescape(remark[1]), "quote"),)
        elif found := _LABELLED.fullmatch(line):
            yield (Piece(_unescape(found[1]), "label"), Piece(_unescape(found[2])))
        else:
            yield (Piece(_unescape(line)),)


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\u200b", "")
