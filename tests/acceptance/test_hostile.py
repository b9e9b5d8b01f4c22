"""Every error text of a hostile controller arrives complete and harmless, wherever people read."""

import html
import re
from collections.abc import Iterator
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.text import visible
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.mailbox import Mailbox
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.simulator.slack import SlackServer
from cmc_notify.sinks.slack.limits import violations
from support.bridge_process import bridge

MANY, BIG = 10_000, 50
PROOF_LINK = "http://127.0.0.1:9/events/"


def config(sim: Simulator, hook: Receiver, slack: SlackServer, mailbox: Mailbox) -> dict[str, Any]:
    """Everything goes to a webhook, a Slack channel and a mailbox."""
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "all",
                "poll": {"interval": "500ms", "idle_interval": "500ms", "settle": "2s"},
            }
        },
        "sinks": {
            "hook": {"type": "webhook", "url": hook.url},
            "chat": {
                "type": "slack",
                "token": slack.token,
                "channel": "#netops",
                "api_url": slack.api_url,
                "timeout": "60s",
            },
            "mail": {
                "type": "email",
                "host": "127.0.0.1",
                "port": mailbox.port,
                "tls": "none",
                "from": "cmc@example.net",
                "to": ["noc@example.net"],
                "timeout": "60s",
            },
        },
        "routes": [{"sinks": ["hook", "chat", "mail"]}],
        "http": {"listen": "127.0.0.1:0", "external_url": PROOF_LINK.removesuffix("/events/")},
    }


def wire(text: str) -> str:
    """What the bridge makes of a text at the wire: databases refuse NUL and lone surrogates."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\0", "\u2400"))


def error_texts(sim: Simulator) -> set[str]:
    """Every error text of every job that can be read, as the simulator has it."""
    result: set[str] = set()
    for job in {version.key: version for version in sim.history}.values():
        document = job.document
        if not isinstance(document, dict) or not isinstance(document.get("job_status"), str):
            continue
        rows = document.get("detailed_status") or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            continue
        if not any(isinstance(document.get(key), int) for key in ("id", "idx")):
            continue
        if str(document["job_status"]).lower() != "failed":
            continue
        result.update(
            row["error_text"] for row in rows if row.get("result") == "Fail" and row.get("error_text")
        )
        result.update(filter(None, [document.get("error_text")]))
    return {wire(text) for text in result}


def squeezed(text: str) -> str:
    """Without what a medium may add or fold: white space, zero-width spaces, code fences."""
    return re.sub(r"[\s\u200b`]+", "", text)


def missing(texts: set[str], documents: list[str]) -> list[str]:
    """The texts that stand in no document."""
    lines = {line.strip() for document in documents for line in document.splitlines()}
    rest = [text for text in texts if visible(text).strip() not in lines]
    short = squeezed("\n".join(document for document in documents if len(document) < 1_000_000))
    return [text[:80] for text in rest if squeezed(visible(text)) not in short]


class Tags(HTMLParser):
    """Which tags and which links an HTML document has, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.text: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        self.tags.add(tag)
        self.links.update(value or "" for name, value in attrs if name in ("href", "src"))

    def handle_data(self, data: str) -> None:
        """Collect."""
        self.text.append(data)


def parts(mail: EmailMessage, kind: str) -> Iterator[str]:
    """The texts of one content type, attachments included."""
    for part in mail.walk():
        if part.get_content_type() == kind:
            yield part.get_payload(decode=True).decode()  # type: ignore[union-attr]  # never multipart here


@pytest.mark.timeout(240)
async def test_every_text_arrives_complete_and_harmless(tmp_path: Path) -> None:
    """Quotes, controls, mentions, templates, markup, direction marks, NUL, surrogates; 10,000 failures of
    up to 500 characters, and 50 of 20 KB: each is in the webhook's body, in Slack and in both parts of a
    mail (or its attachment), and none of them does anything.
    """
    async with (
        Receiver() as hook,
        SlackServer() as slack,
        Mailbox() as mailbox,
        Simulator("hostile", speed=40, auth=OPEN, many=MANY, big=BIG) as sim,
        bridge(tmp_path, config(sim, hook, slack, mailbox)) as process,
    ):
        await sim.wait_finished()
        await process.polls(4, within=90)
        await process.drained(within=90)
        assert await process.stop() == 0
    texts = error_texts(sim)
    assert len(texts) > MANY + BIG + 20
    assert not [line for line in process.log if line.get("event") in ("delivery.dead", "template.failed")]

    assert_webhook(hook, texts)
    assert_slack(slack, texts)
    assert_mail(mailbox, texts)


def assert_webhook(hook: Receiver, texts: set[str]) -> None:
    """The exact text, in one event for each failure."""
    documents = [request.document for request in hook.requests]
    told = {failure["error_text"] for document in documents for failure in document["failures"]}
    told |= {document["job"]["error_text"] for document in documents if document["job"]}
    assert texts - told == set()
    assert max(len(document["failures"]) for document in documents) == MANY


def assert_slack(slack: SlackServer, texts: set[str]) -> None:
    """In the channel, a thread or a file; each payload within the limits; no mention, no foreign link."""
    documents = [html.unescape("\n".join(message.texts)) for message in slack.messages]
    documents += [(file.content or b"").decode() for file in slack.files if file.channel]
    assert missing(texts, documents) == []
    for message in slack.messages:
        if message.files:
            continue
        assert violations(message.raw) == []
        for text in [message.text, *message.texts]:
            assert all(found.startswith(f"<{PROOF_LINK}") for found in re.findall(r"<[^>]*>", text))
    assert all(len(file.content or b"") <= 1_000_000 for file in slack.files)


def assert_mail(mailbox: Mailbox, texts: set[str]) -> None:
    """In the plain part and in the HTML part, or for what is too long in the attachment."""
    mails = [mail.message for mail in mailbox.mails]
    small = {text for text in texts if not text.startswith("error 0")}
    assert len(small) > 20
    plain = [text for mail in mails for text in parts(mail, "text/plain")]
    assert missing(texts, plain) == []
    pages = [Tags(text) for mail in mails for text in parts(mail, "text/html")]
    assert missing(small, ["".join(page.text) for page in pages]) == []
    assert not {tag for page in pages for tag in page.tags} & {"script", "img", "iframe", "object", "link"}
    assert all(link.startswith(PROOF_LINK) for page in pages for link in page.links)
    for mail in mails:
        assert mail["To"] == "noc@example.net"
        assert mail["Bcc"] is None
    assert max(len(line) for mail in mailbox.mails for line in mail.content.split(b"\r\n")) <= 998
