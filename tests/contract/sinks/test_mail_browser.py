"""A mail's HTML in a real browser: what no parser can tell, how wide it becomes and what it looks like."""

import re
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from cmc_notify.core.events import EventType, Failure
from cmc_notify.core.samples import sample, samples
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer

CHROMIUM = Path("/usr/bin/chromium")
SMALLEST_PHONE = 320
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ENDLESS = Failure("V" * 300, "h" * 300, 3, "Q" * 200, "x" * 3000, new=True)


@pytest.mark.skipif(
    not CHROMIUM.exists(), reason="no /usr/bin/chromium: install Debian's chromium to run this"
)
async def test_a_mail_fits_the_smallest_phone() -> None:
    """No text widens it, with the style block or without, it asks for nothing, and it has dark colours."""
    from playwright.async_api import async_playwright  # noqa: PLC0415  slow, and only here

    renderer = Renderer()
    wide = msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=(ENDLESS,))
    pages = [
        renderer.render_strictly("email", "html", Message(key="k", event=event, is_test=True))
        for event in (wide, *samples())
    ]
    asked: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        backgrounds = set()
        for scheme in SCHEMES:
            page = await browser.new_page(
                color_scheme=scheme, viewport={"width": SMALLEST_PHONE, "height": 640}
            )
            page.on("request", lambda request: asked.append(request.url))
            for document in pages:
                stripped = re.sub(r"<style>.*?</style>", "", document, flags=re.DOTALL)
                await page.set_content(document if scheme == "dark" else stripped)
                assert await page.evaluate("document.documentElement.scrollWidth") == SMALLEST_PHONE
                assert await page.evaluate("document.scripts.length + document.images.length") == 0
            backgrounds.add(
                await page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
            )
        await browser.close()
    assert asked == []
    assert len(backgrounds) == 2
