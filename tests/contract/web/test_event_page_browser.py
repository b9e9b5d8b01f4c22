"""Test the page in a real browser."""

from pathlib import Path
from typing import Literal

import pytest
from aiohttp import web

from cmc_notify.core.text import visible
from cmc_notify.web import WebServer
from support.web_fakes import FAILED

CHROMIUM = Path("/usr/bin/chromium")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.mark.skipif(
    not CHROMIUM.exists(), reason="no /usr/bin/chromium: install Debian's chromium to run this"
)
async def test_a_real_browser_shows_the_text_and_runs_no_script(app: web.Application) -> None:
    """In Chromium the hostile texts are seen, no script runs, and the page fits a phone, light and dark."""
    from playwright.async_api import ConsoleMessage, async_playwright  # noqa: PLC0415  slow, and only here

    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if "favicon" not in str(message.location):
            complaints.append(message.text)

    server = WebServer(app, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{await server.start()}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        backgrounds = set()
        for scheme in SCHEMES:
            page = await browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
            page.on("console", complain)
            for path in ("/", f"/events/{FAILED.id}"):
                await page.goto(base + path)
                assert "owned" not in await page.title()
                assert 'document.title="owned"' in await page.inner_text("main")
                assert await page.evaluate("document.scripts.length + document.images.length") == 0
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= 360, f"{path} is {width} pixels wide"
            assert visible("line two\nline three\x1b[2J\u202eevil") in await page.inner_text("main")
            backgrounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2, "the style was applied, and follows the reader's scheme"
        await browser.close()
    await server.stop()
    assert complaints == [], "nothing on the pages goes against their own policy"
