# ruff: noqa: E501  a message is easier to read on its line
"""What ``preview`` shows of Slack messages and mails, and how it notices that something was saved."""

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from cmc_notify.cli.file_watch import changes
from cmc_notify.cli.preview import _for_reader
from cmc_notify.cli.preview_html import is_slack_message, slack_page, slack_text
from cmc_notify.cli.preview_mail import mail_page, mail_text
from cmc_notify.core.events import EventType, Failure
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, PreviewDocument
from cmc_notify.rendering import Renderer
from cmc_notify.sinks.email import EmailSettings
from cmc_notify.sinks.email.composer import compose


def _message(text: str) -> str:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": text}},
        {"type": "section", "text": {"type": "mrkdwn", "text": f"*QoS:* <https://a.example/?b=1|All>\n```\n{text}\n```"}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": text}]},
        {"type": "divider"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Cancel job"}}]},
        {"type": "new_kind"},
    ]  # fmt: skip
    return json.dumps({"text": text, "blocks": blocks})


def _document(text: str, name: str = "message.json") -> PreviewDocument:
    return PreviewDocument(name, _message(text))


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, None), *((name, value) for name, value in attrs)]


@given(st.text(st.sampled_from("<>&\"'|`*_~!@#ab /\n;lt")))
@example(HOSTILE_TEXT)
@example("<script>alert(1)</script><img src=x onerror=1>")
@example('<https://a" onmouseover="x|y>')
def test_no_text_becomes_markup(text: str) -> None:
    """Whatever a message holds, its page has no script, no image, no handler, and links only to http(s)."""
    found = _Tags(slack_page(_document(text))).found
    assert not {"script", "img", "iframe", "onmouseover", "onerror", "src"} & {name for name, _ in found}
    assert all((value or "").startswith(("http://", "https://")) for name, value in found if name == "href")


def test_a_message_looks_as_in_slack() -> None:
    """Header, bold, link, code, rule and button are there, in HTML and as text."""
    page = slack_page(_document("a &lt; b"))
    for part in ("<strong>QoS:</strong>", '<a href="https://a.example/?b=1"', "<pre>a &lt; b</pre>", "<hr>", "Cancel job"):  # fmt: skip
        assert part in page
    shown = slack_text(_message("a &lt; b"))
    assert "QoS: All  https://a.example/?b=1" in shown
    assert "  │ a < b" in shown
    assert "[ Cancel job ]" in shown


def test_a_thread_and_files_stand_beneath_their_message() -> None:
    """Replies and attached lists are shown below, a table or menu as what it is, other documents not."""
    menu = {
        "type": "static_select",
        "placeholder": {"type": "plain_text", "text": "Silence…"},
        "options": [
            {"text": {"type": "plain_text", "text": label}, "value": label} for label in ("1 h", "4 h")
        ],
    }
    card = json.dumps({"blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": "> `a*b*` <!date^1^x|today> <@U1>"}, "accessory": menu},
        {"type": "actions", "elements": [menu]}]})  # fmt: skip
    page = slack_page(
        PreviewDocument("card.json", card),
        _document("reply", "thread-1.json"),
        PreviewDocument("failures.txt", "V1 <failed>"),
        PreviewDocument("notes.json", "{}"),
    )
    assert (
        page.index("Silence…")
        < page.index("2 replies")
        < page.index("reply</h2>")
        < page.index("V1 &lt;failed&gt;")
    )
    assert "<code>a*b*</code>" in page
    assert '<span class="mention">today</span> <span class="mention">@U1</span>' in page
    assert "[ Silence… ▾ 1 h | 4 h ]" in slack_text(card)


def _mail(**more: Any) -> str:
    event = msgspec.structs.replace(sample(EventType.JOB_FAILED), **more)
    settings = EmailSettings.model_validate(
        {"host": "a.example", "from": "CMC <cmc@example.net>", "to": "noc@example.net"}
    )
    made = compose(
        Message(key="k", event=event), settings, Renderer(), date=datetime(2026, 11, 23, tzinfo=UTC)
    )
    return made.decode("ascii")


def test_a_mail_looks_as_in_its_reader() -> None:
    """Headers, the text and what is attached are there; the HTML stands in a frame that runs nothing."""
    failures = tuple(Failure(f"V{n}", None, 3, "QoS", HOSTILE_TEXT, new=True) for n in range(21))
    content = _mail(failures=failures)
    page = mail_page(content)
    tags = _Tags(page)
    assert ("sandbox", None) in tags.found
    assert not {"script", "img", "src", "onerror"} & {name for name, _ in tags.found}
    [frame] = [value for name, value in tags.found if name == "srcdoc" and value]
    assert "21 appliances" in frame
    assert not {"script", "img", "onerror"} & {name for name, _ in _Tags(frame).found}
    assert "CMC &lt;cmc@example.net&gt;" in page
    assert "failures-job-42.csv" in page
    shown = mail_text(content)
    assert shown.startswith("[cmc-notify] emea: push job 42 failed")
    assert "To:       noc@example.net" in shown
    assert "Attached: failures-job-42.csv (" in shown
    assert visible(HOSTILE_TEXT) in shown


def test_a_terminal_gets_what_readers_see() -> None:
    """A mail once and not its parts, a message as text, JSON line by line, and nothing that acts unseen."""
    mail = [PreviewDocument("body.html", "<p>"), PreviewDocument("mail.eml", _mail())]
    [shown] = _for_reader(mail)
    assert shown.text.startswith("[cmc-notify] emea: push job 42 failed")
    request = [
        PreviewDocument("body.json", '{"a":"\\u202e"}'),
        PreviewDocument("request.txt", "POST\x1b[31m"),
    ]
    assert [each.text for each in _for_reader(request)] == ['{\n  "a": "[U+202E]"\n}', "POST␛[31m"]
    [message] = _for_reader([_document("text")])
    assert message.text.startswith("text\n════")


def test_only_messages_are_messages() -> None:
    """Other documents of a preview are left as they are."""
    assert is_slack_message(_message("a"))
    assert not any(map(is_slack_message, ("", "[]", '{"blocks": 3}', "text")))


def test_a_save_is_noticed(tmp_path: Path) -> None:
    """A changed, a new and a removed file each begin a new round; nothing else does."""
    file = tmp_path / "a.j2"
    file.write_text("1")
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            file.write_text("22")
        if looks == 3:
            (tmp_path / "b.j2").write_text("new")
        if looks == 4:
            file.unlink()

    rounds = changes(lambda: [tmp_path], sleep)
    for expected in (0, 2, 3, 4):
        next(rounds)
        assert looks == expected
