# ruff: noqa: E501  a message is easier to read on its line
"""What ``preview`` shows of a Slack message, and how it notices that something was saved."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cmc_notify.cli.picture import is_slack_message, slack_page, slack_text
from cmc_notify.cli.watching import changes
from cmc_notify.core.samples import HOSTILE_TEXT


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
    found = _Tags(slack_page(_message(text))).found
    assert not {"script", "img", "iframe", "onmouseover", "onerror", "src"} & {name for name, _ in found}
    assert all((value or "").startswith(("http://", "https://")) for name, value in found if name == "href")


def test_a_message_looks_as_in_slack() -> None:
    """Header, bold, link, code, rule and button are there, in HTML and as text."""
    page = slack_page(_message("a &lt; b"))
    for part in ("<strong>QoS:</strong>", '<a href="https://a.example/?b=1"', "<pre>a &lt; b</pre>", "<hr>", "Cancel job"):  # fmt: skip
        assert part in page
    shown = slack_text(_message("a &lt; b"))
    assert "  │ a < b" in shown
    assert "[ Cancel job ]" in shown


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
