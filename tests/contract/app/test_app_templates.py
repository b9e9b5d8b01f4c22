"""Test an application with a third party's sink: its templates, its links."""

import asyncio
from pathlib import Path

import pytest

from cmc_notify.app import make_renderer
from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from support.third_party_pager import Company, Configure, running


async def test_a_plugins_templates_are_used_for_its_sink_alone(
    company: Company, configure: Configure
) -> None:
    """They come before our own, count for no other sink type, and ``builtin/`` means them."""
    renderer = make_renderer(configure(), lambda error: pytest.fail(str(error)), plugins=company.plugins)
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    assert renderer.render("pager", "txt", message).text == "pager says 42"
    assert "not yours" not in renderer.render("console", "txt", message).text
    other = Message(key="k", event=sample(EventType.JOB_QUEUED))
    assert "emea" in renderer.render("pager", "txt", other).text


async def test_the_users_templates_come_before_a_plugins(
    tmp_path: Path, company: Company, configure: Configure
) -> None:
    """A user may replace a plugin's template, and extend it."""
    own = tmp_path / "own" / "pager" / "job.failed.txt.j2"
    own.parent.mkdir(parents=True)
    own.write_text("mine: {% include 'builtin/pager/job.failed.txt.j2' %}")
    settings = configure(templates_dir=str(tmp_path / "own"))
    renderer = make_renderer(settings, lambda error: pytest.fail(str(error)), plugins=company.plugins)
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    assert renderer.render("pager", "txt", message).text == "mine: pager says 42"


async def test_a_fault_in_a_plugins_template_is_named(company: Company, configure: Configure) -> None:
    """The plain message names the plugin's file that failed, without its path."""
    assert company.plugins["pager"].templates
    (company.plugins["pager"].templates / "pager/job.failed.txt.j2").write_text("{{ nothing.there }}")
    renderer = make_renderer(configure(), lambda _error: None, plugins=company.plugins)
    rendered = renderer.render("pager", "txt", Message(key="k", event=sample(EventType.JOB_FAILED)))
    assert rendered.fallback
    assert rendered.fallback.startswith("pager/job.failed.txt.j2, line 1: ")


async def test_many_threads_may_render_at_once(company: Company, configure: Configure) -> None:
    """Sinks render in their own threads; the first documents of a format are like all others."""
    for _ in range(5):
        renderer = make_renderer(configure(), lambda error: pytest.fail(str(error)), plugins=company.plugins)
        message = Message(key="k", event=sample(EventType.JOB_FAILED))
        rendered = await asyncio.gather(
            *(asyncio.to_thread(renderer.render, "pager", "txt", message) for _ in range(16))
        )
        assert {each.text for each in rendered} == {"pager says 42"}
        assert len(renderer._environments) == 1


async def test_links_are_signed_where_people_can_reach_the_bridge(
    company: Company, configure: Configure
) -> None:
    """With ``external_url`` each message links to its event's page; without it there is no link."""
    external = {"listen": "127.0.0.1:0", "external_url": "https://bridge.example.net"}
    async with running(configure(http=external), company) as bridge:
        await company.built[0].sends(1)
        event = company.built[0].messages[0].event
        assert event.url
        assert event.url.startswith(f"https://bridge.example.net/events/{event.id}?")
        delivery, expires, signature = (part.split("=")[1] for part in event.url.split("?")[1].split("&"))
        links = await bridge._links.links()
        assert links.verify(event.id, expires, signature, bridge._clock(), delivery=delivery)


async def test_without_an_external_url_no_link_is_written(company: Company, configure: Configure) -> None:
    """A link that nobody can open is left out."""
    async with running(configure(), company):
        await company.built[0].sends(1)
    assert company.built[0].messages[0].event.url is None
    assert company.built[0].texts[0].startswith("pager says ")
