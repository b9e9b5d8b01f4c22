"""Makes the pictures of README and docs: what the real sinks would send, shown by a real browser.

The messages come from the sinks' previews with the built-in templates, the pages are those of
``cmc-notify preview --out``. It needs Chromium (Debian's, or CHROMIUM=…) and the typefaces of phones and
Slack (Debian's fonts-roboto-unhinted, fonts-lato, fonts-noto-color-emoji), and writes PNGs of few colours.

    python docs/pictures/make.py [NAME…]
"""

import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

from dashboard import Night
from night import failed_job, half_way, recovered
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from cmc_notify.cli.preview_html import slack_page
from cmc_notify.cli.preview_mail import SUFFIX, mail_page
from cmc_notify.core.events import Event
from cmc_notify.ports import Message, PreviewDocument, Previewing, Ticket
from cmc_notify.rendering import Renderer
from cmc_notify.sinks.plugin import load_plugins

HERE = Path(__file__).parent
LARGEST = 80_000
"""Bytes of one picture: they are part of every clone."""
COLOURS = 48
PHONE, DESKTOP = 390, 1024
CHAT = 760
HIGHEST = {PHONE: 1000, CHAT: 1060, DESKTOP: 1400}
"""CSS pixels of each width, else all of it: a picture shows what is on the first screens."""
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
MAIL = {"type": "email", "host": "a.example", "from": "CMC <cmc@example.net>", "to": ["noc@example.net"]}
SLACK = {
    "type": "slack",
    "token": "none",
    "channel": "#netops",
    "signing_secret": "none",
    "allow": {"cancel": ["*"], "acknowledge": ["*"], "silence": ["*"]},
}
CONSOLE = {"type": "console"}
Scheme = Literal["light", "dark"]
Shot = tuple[str, int, Scheme, str]
"""Name, width in CSS pixels, colours, page or its address."""


def shots() -> Sequence[Shot]:
    """All pictures."""
    mail, good = _mail(failed_job()), _mail(recovered())
    slack = slack_page(*_sent(SLACK, failed_job()))
    return (
        ("mail-phone-light", PHONE, "light", mail),
        ("mail-phone-dark", PHONE, "dark", mail),
        ("mail-desktop-light", DESKTOP, "light", mail),
        ("mail-desktop-dark", DESKTOP, "dark", mail),
        ("mail-recovered", DESKTOP, "light", good),
        ("slack-running", CHAT, "light", slack_page(_sent(SLACK, half_way())[0])),
        ("slack-light", CHAT, "light", slack),
        ("slack-dark", CHAT, "dark", slack),
        ("console", 900, "dark", _terminal(_sent(CONSOLE, failed_job())[0].text)),
    )


def _sent(settings: Mapping[str, Any], event: Event) -> Sequence[PreviewDocument]:
    """What the sink would send, by its own preview."""
    plugin = load_plugins()[settings["type"]]
    sink = plugin.build("picture", plugin.settings.model_validate(settings), Renderer())
    assert isinstance(sink, Previewing)
    ticket = Ticket("tickets", "job", "INC0012345", "https://snow.example.net/INC0012345", open=True)
    message = Message(key="picture", event=event, subject="job:emea:1", tickets=(ticket,))
    return sink.preview(message)


def _mail(event: Event) -> str:
    """Dated the moment after the event, not today."""
    [mail] = [document.text for document in _sent(MAIL, event) if document.name.endswith(SUFFIX)]
    return mail_page(re.sub(r"^Date: .*$", "Date: Mon, 23 Nov 2026 02:31:16 +0000", mail, flags=re.MULTILINE))


def _terminal(text: str) -> str:
    """The first line in colour, as the console sink prints it to a terminal."""
    first, _, rest = escape(text).partition("\n")
    style = (
        "body{margin:0;padding:16px;background:#11151a;color:#d6d9dd;"
        "font:13px/19px 'DejaVu Sans Mono',monospace;white-space:pre-wrap}b{color:#ff6b68}"
    )
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style><b>{first}</b>\n{rest}'


def _taken(browser: Browser, shot: Shot) -> bytes:
    _, width, scheme, content = shot
    scale = 1.5 if width == PHONE else 1
    page = browser.new_page(
        color_scheme=scheme, viewport={"width": width, "height": 100}, device_scale_factor=scale
    )
    if content.startswith("http"):
        page.goto(content)
    else:
        page.set_content(content)
    _unroll(page)
    high = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": high})  # a frame paints only what can be seen
    page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    page.wait_for_timeout(300)  # a mail's frame is drawn apart from the page, and tells nobody when
    overflow = page.evaluate("document.documentElement.scrollWidth")
    assert overflow <= width, f"{shot[0]} is {overflow} pixels wide"
    picture = page.screenshot(
        clip={"x": 0, "y": 0, "width": width, "height": min(high, HIGHEST.get(width, high))}
    )
    page.close()
    return picture


def _unroll(page: Page) -> None:
    """Make the frame of a mail as high as the mail; leave out what a reader does not see at first."""
    for frame in page.frames[1:]:
        wide, high = frame.evaluate(
            "[document.documentElement.scrollWidth - innerWidth, document.body.scrollHeight]"
        )
        assert wide <= 0, f"the mail is {wide} pixels too wide"
        frame.frame_element().evaluate("(frame, high) => frame.style.height = high + 'px'", high)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.remove())")


def _small(picture: bytes) -> bytes:
    """The same with few colours, as few as it takes to be small enough."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (COLOURS, 24, 12):
        buffer = io.BytesIO()
        few = image.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            return buffer.getvalue()
    raise SystemExit(f"a picture is larger than {LARGEST} bytes; show less in it")


def main(names: Sequence[str]) -> None:
    """Write the named pictures, or all."""
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for shot in shots():
            if not names or shot[0] in names:
                _write(browser, shot)
        if not names or "dashboard" in names:
            with Night() as address:
                _write(browser, ("dashboard", DESKTOP, "light", address))
        browser.close()


def _write(browser: Browser, shot: Shot) -> None:
    content = _small(_taken(browser, shot))
    (HERE / f"{shot[0]}.png").write_bytes(content)
    print(f"{shot[0]}.png  {len(content):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
