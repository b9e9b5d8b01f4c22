"""A job's mails with the built-in templates, as a real mail server got them and as readers see them."""

import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cmc_notify.core.events import Event, EventType
from cmc_notify.core.outcome import Sent
from cmc_notify.core.samples import many_failures, sample, samples
from cmc_notify.core.text import visible
from cmc_notify.ports import Acknowledgement, Message, Ticket
from cmc_notify.rendering import Renderer
from cmc_notify.rendering.formats import one_line
from cmc_notify.sinks.email import PLUGIN, EmailSettings

StartPostOffice = Callable[..., Awaitable[Any]]
LIFE = (
    EventType.JOB_QUEUED,
    EventType.JOB_STARTED,
    EventType.APPLIANCE_FAILED,
    EventType.APPLIANCE_RECOVERED,
    EventType.JOB_OVERDUE,
    EventType.JOB_FAILED,
    EventType.JOB_REOPENED,
    EventType.JOB_SUCCEEDED,
)
VOID = {"meta", "br", "link", "img", "hr", "input"}
GHOST = re.compile(r"\[if mso\]>(<table[^>]*><tr><td>|</td></tr></table>)<!\[endif\]")
"""Markup that only Outlook for Windows reads, which has no max-width."""


class Page(HTMLParser):
    """A mail's HTML: what a reader sees, and whatever is no plain, closed, self-contained markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.problems: list[str] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        self.problems += [f"<{tag}> is left open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Every tag is one that mail clients keep, and fetches nothing."""
        if tag not in VOID:
            self.open.append(tag)
        if tag == "br":
            self.text += "\n"
        if tag in ("script", "link", "img", "iframe", "object", "embed", "form", "base", "svg", "video"):
            self.problems.append(f"<{tag}>")
        if tag == "table" and dict(attrs).get("role") != "presentation":
            self.problems.append("a table that screen readers would read as one")
        for name, value in attrs:
            if name.startswith("on") or name in ("src", "srcset", "background", "poster", "action"):
                self.problems.append(f"{name} of <{tag}>")
            if name == "href" and not (tag == "a" and (value or "").startswith("https://")):
                self.problems.append(f"a link to {value}")
            if name == "style":
                self.styles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        """Tags close in their order."""
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another")

    def handle_comment(self, data: str) -> None:
        """None but for Outlook."""
        if not GHOST.fullmatch(data):
            self.problems.append(f"a comment: {data}")

    def handle_data(self, data: str) -> None:
        """Return the text without the style block."""
        if self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.text += data


def body(mail: EmailMessage, kind: str) -> str:
    """One alternative of a mail."""
    part = mail.get_body((kind,))
    assert part is not None
    text: str = part.get_content().replace("\r\n", "\n")
    return text


def texts_of(event: Event) -> Iterator[str]:
    """Everything that a reader of this event must find."""
    if event.job and event.job.error_text:
        yield event.job.error_text
    for failure in event.failures:
        yield from filter(None, (failure.error_text, failure.serial and one_line(failure.serial)))


@pytest.fixture
def send(start_post_office: StartPostOffice, record: Any) -> Callable[..., Awaitable[list[EmailMessage]]]:
    """Sends messages through a real sink and server; gives what arrived."""

    async def sent(*messages: Message, templates: Path | None = None, **settings: Any) -> list[EmailMessage]:
        office = await start_post_office()
        given = {"host": "127.0.0.1", "tls": "none", "from": "cmc@example.net", "to": "noc@example.net"}
        made = EmailSettings.model_validate({**given, "port": office.port, **settings})
        sink = PLUGIN.build("mail", made, Renderer([templates] if templates else []))
        for message in messages:
            assert isinstance(await sink.send(message, record), Sent)
        return [message_from_bytes(mail.content, policy=policy.default) for mail in office.mails]

    return sent


def life() -> Iterator[Message]:
    """One job from its first day to its last."""
    for number, kind in enumerate(LIFE):
        yield Message(key=f"key{number}", event=_same_job(sample(kind)))


def _same_job(event: Event) -> Event:
    assert event.job
    return msgspec.structs.replace(
        event, job=msgspec.structs.replace(event.job, created="2026-11-23T09:10:00Z")
    )


async def test_a_jobs_whole_life_is_one_thread(send: Any) -> None:
    """Every mail refers to one root, in the order of events; subjects begin alike and tell them apart."""
    mails = await send(*life())
    assert [mail["X-Cmc-Notify-Event"] for mail in mails] == list(LIFE)
    assert len({(mail["References"], mail["In-Reply-To"]) for mail in mails}) == 1
    assert len({mail["Message-ID"] for mail in mails}) == len(LIFE)
    # No mail is the root: which event is a reader's first depends on the routes.
    assert mails[0]["References"] not in {mail["Message-ID"] for mail in mails}
    dates = [mail["Date"].datetime for mail in mails]
    assert dates == sorted(dates)
    indexes = [base64.b64decode(mail["Thread-Index"]) for mail in mails]  # what Outlook goes by
    assert {len(index) for index in indexes} == {22 + 5}
    assert len({index[:22] for index in indexes}) == 1
    assert len(set(indexes)) == len(LIFE)
    subjects = [mail["Subject"] for mail in mails]
    assert all(subject.startswith("[cmc-notify] emea: push job 42") for subject in subjects)
    assert len(set(subjects)) == len(LIFE)
    assert {mail["List-Id"] for mail in mails} == {"cmc-notify emea <emea.cmc-notify.example.net>"}
    assert {mail["Auto-Submitted"] for mail in mails} == {"auto-generated"}


async def test_one_subject_for_a_job_where_wished(send: Any) -> None:
    """With ``subject_per: job`` clients that thread by subject keep the thread; another job has another."""
    mails = await send(*life(), subject_per="job")
    assert {mail["Subject"] for mail in mails} == {"[cmc-notify] emea: push job 42 (QoS, SNMP)"}
    others = [Message(key=kind, event=sample(kind)) for kind in EventType if "." in kind]
    outside = {mail["Subject"] for mail in await send(*others, subject_per="job")}
    assert outside == {
        "[cmc-notify] emea: push job 42 (QoS, SNMP)",
        "[cmc-notify] emea: the controller",
        "[cmc-notify] deliveries to chat",
    }


async def test_text_and_html_are_both_complete_and_hold_in_clients(send: Any) -> None:
    """For every sample, hostile ones too: all texts in both parts, and HTML that any client may show."""
    messages = [Message(key=f"k{number}", event=event) for number, event in enumerate(samples())]
    for message, mail in zip(messages, await send(*messages), strict=True):
        page = Page(body(mail, "html"))
        assert page.problems == []
        assert not [style for style in page.styles if re.search(r"url\(|@import|expression|position:", style)]
        attached = "".join(part.get_content() for part in mail.iter_attachments())
        for text in map(visible, texts_of(message.event)):
            assert text in body(mail, "plain") + attached
            assert text in page.text + attached
        assert len(mail["Subject"]) <= 250
        assert "\n" not in mail["Subject"]


async def test_no_client_has_to_read_the_style_block(send: Any) -> None:
    """The one style block changes colours alone; all else is inline, and no width is fixed on a phone."""
    [mail] = await send(Message(key="k", event=sample(EventType.JOB_FAILED)))
    page = body(mail, "html")
    [block] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    kinds = {found[1] for found in re.finditer(r"([a-z-]+):[^;{}]+;", block)}
    assert kinds <= {"color-scheme", "supported-color-schemes", "background-color", "color", "border-color"}
    assert '<meta name="color-scheme" content="light dark">' in page
    assert not re.search(r"(?<!max-)width[:=]\"?\d{3,}(?!%)", re.sub(r"<!--.*?-->", "", page))
    for style in re.findall(r'style="([^"]*background-color:[^"]*)"', page):
        inked = re.search(r"(?<!-)color:", style)
        assert inked or "font-size:0" in style or "eef1f4" in style or "border" in style


async def test_the_first_line_beside_a_subject_is_the_cause(send: Any) -> None:
    """A phone shows the largest group with its error under the subject."""
    [mail] = await send(Message(key="k", event=sample(EventType.JOB_FAILED)))
    shown = Page(body(mail, "html").split("<body")[1].partition(">")[2]).text.strip()
    assert shown.startswith("QoS failed on 2 appliances, 1 new: Rule 12: class 'voice' is not defined")


async def test_tickets_and_who_has_taken_it_are_in_both_parts(send: Any) -> None:
    """A ticket's number is a link in HTML, and stands with its address in the text; no script is a link."""
    tickets = (
        Ticket("snow", "job:emea:1", "INC0012345", "https://snow.example.net/INC0012345", open=True),
        Ticket("jira", "job:emea:1", "NET-7", "javascript:alert(1)", open=False),
    )
    message = Message(
        key="k",
        event=sample(EventType.JOB_FAILED),
        tickets=tickets,
        acknowledged=Acknowledgement("Anna <b>", 1795425600.0),
    )
    [mail] = await send(message)
    link = "https://snow.example.net/INC0012345"
    assert f"INC0012345 (snow, open) {link}, NET-7 (jira, closed)\n" in body(mail, "plain")
    assert "Anna <b>, 2026-11-23 09:20:00 UTC" in body(mail, "plain")
    page = body(mail, "html")
    assert Page(page).problems == []
    assert re.search(
        r'<a href="https://snow\.example\.net/INC0012345"[^>]*>INC0012345</a> \(snow, open\)', page
    )
    assert "NET-7 (jira, closed)" in Page(page).text
    assert "javascript" not in page


async def test_a_mail_arrives_whose_every_template_fails(send: Any, tmp_path: Path) -> None:
    """Subject, text and HTML are plain and complete, and both parts say which file failed in which line."""
    folder = tmp_path / "email"
    folder.mkdir()
    for extension in ("subject", "txt", "html"):
        (folder / f"job.failed.{extension}.j2").write_text("\n{{ jbo.id }}")
    [mail] = await send(Message(key="k", event=sample(EventType.JOB_FAILED)), templates=tmp_path)
    assert mail["Subject"] == "[cmc-notify] emea: job.failed: job 42: 4 failures"
    for kind, extension in (("plain", "txt"), ("html", "html")):
        shown = Page(body(mail, kind)).text
        assert "Rule 12: class 'voice' is not defined" in shown
        assert f"email/job.failed.{extension}.j2, line 2: 'jbo' is undefined" in shown


async def test_a_brief_mail_is_not_clipped(send: Any) -> None:
    """With 10,000 failures the HTML stays under the 102 KB from which Gmail hides the rest."""
    [mail] = await send(Message(key="k", event=many_failures()))
    assert len(body(mail, "html").encode()) < 102_000
    assert {part.get_filename() for part in mail.iter_attachments()} == {
        "failures-job-42.txt",
        "failures-job-42.csv",
    }
