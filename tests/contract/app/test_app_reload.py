"""Test reloads, failed starts, and what a changed config leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from cmc_notify.app import Bridge
from cmc_notify.errors import CmcNotifyError
from cmc_notify.settings import Settings
from cmc_notify.simulator import OPEN, Simulator
from support.third_party_pager import Company, Configure, fail_a_job, running


def gauges(bridge: Bridge) -> str:
    """The metrics as Prometheus gets them."""
    return bridge._metrics.render().decode()


async def scraped(bridge: Bridge) -> str:
    """The metrics, with the values that a scrape reads from the store."""
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{bridge.port}/metrics") as answer:
        return await answer.text()


async def test_a_reload_finishes_what_is_in_flight(
    company: Company, configure: Configure, sim: Simulator
) -> None:
    """The old sink ends its send and is closed, the new one does the rest; nothing is sent twice."""
    async with running(configure(), company) as bridge:
        old = company.built[0]
        await old.sends(1)
        old.go.clear()
        fail_a_job(sim)
        await old.sends(2)
        reloading = asyncio.create_task(bridge.reload(configure()))
        await asyncio.sleep(0.05)
        assert not reloading.done()
        old.go.set()
        await reloading
        assert (old.done, old.closed) == (2, True)
        fail_a_job(sim)
        await company.built[1].sends(1)
        assert company.built[1].messages[0].event.id not in {message.event.id for message in old.messages}


async def test_a_reload_changes_the_time_zone_of_the_pages(
    company: Company, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change that needs no restart is not logged as one that does."""
    async with running(configure(timezone="UTC"), company) as bridge, ClientSession() as client:
        address = f"http://127.0.0.1:{bridge.port}/"
        async with client.get(address) as answer:
            assert " UTC</time>" in await answer.text()
        await bridge.reload(configure(timezone="Asia/Tokyo"))
        logged = capsys.readouterr().err
        assert "bridge.reloaded" in logged
        assert "bridge.reload_partial" not in logged
        async with client.get(address) as answer:
            text = await answer.text()
    assert " JST</time>" in text
    assert " UTC</time>" not in text


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ({"listen": "127.0.0.1:0"}, "http://127.0.0.1:{port}/"),
        ({"listen": "[::1]:0"}, "http://[::1]:{port}/"),
        ({"listen": "0.0.0.0:0", "token": "t" * 32}, "http://127.0.0.1:{port}/"),
        (
            {"listen": "127.0.0.1:0", "external_url": "https://bridge.example.net"},
            "https://bridge.example.net",
        ),
    ],
)
async def test_the_log_says_where_the_first_page_is(
    company: Company, configure: Configure, http: dict[str, str], expected: str
) -> None:
    """An address that can be opened, also if the bridge listens on all of them."""
    with structlog.testing.capture_logs() as logged:
        async with running(configure(http=http), company) as bridge:
            port = bridge.port
    [line] = [line for line in logged if line["event"] == "bridge.started"]
    assert line["url"] == expected.format(port=port)


async def test_a_config_that_can_not_be_built_changes_nothing(
    company: Company, configure: Configure, sim: Simulator
) -> None:
    """If a plugin fails on new settings, the old engine does not even pause."""
    async with running(configure(), company) as bridge:
        with pytest.raises(ZeroDivisionError):
            await bridge.reload(configure(sinks={"duty": {"type": "pager", "broken": True}}))
        assert not company.built[0].closed
        fail_a_job(sim)
        await company.built[0].sends(2)


async def test_what_a_config_leaves_out_leaves_the_metrics(
    company: Company, configure: Configure, sim: Simulator
) -> None:
    """No gauge of a removed controller or sink keeps its last value and alerts for ever."""
    both = {name: {"url": sim.url, "poll": {"interval": "50ms"}} for name in ("emea", "apac")}
    sinks = {name: {"type": "pager"} for name in ("duty", "night")}
    routes = [{"sinks": ["duty", "night"]}]
    async with running(configure(controllers=both, sinks=sinks, routes=routes), company) as bridge:
        async with asyncio.timeout(10):
            while not all(live.tried for live in bridge.controllers()):  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.01)
        assert 'controller_up{controller="apac"}' in gauges(bridge)
        assert 'sink_blocked{sink="night"}' in gauges(bridge)
        assert '_last_poll_timestamp_seconds{controller="apac"}' in await scraped(bridge)
        assert '_malformed_jobs{controller="apac"}' in gauges(bridge)
        await bridge.reload(configure())
        text = await scraped(bridge)  # the store still knows the controller, which must not bring it back
        of_polls = ("controller_up", "last_poll_timestamp_seconds", "malformed_jobs", "poll_lag_seconds")
        assert [name for name in of_polls if f'_{name}{{controller="apac"}}' in text] == []
        assert [name for name in of_polls if f'_{name}{{controller="emea"}}' not in text] == []
        assert 'sink_blocked{sink="night"}' not in text
        assert 'sink_blocked{sink="duty"}' in text


async def test_a_start_that_fails_leaves_nothing_open(
    tmp_path: Path, company: Company, configure: Configure
) -> None:
    """If the port is in use, no store is made and no sink built, and nothing keeps running."""
    async with running(configure(), company) as first:
        taken = {"listen": f"127.0.0.1:{first.port}"}
        store = {"url": str(configure().store.url.get_secret_value()).replace("store.db", "second.db")}
        with pytest.raises(CmcNotifyError, match=r"http\.listen"):
            await Bridge(configure(http=taken, store=store), company.plugins).start()
        await asyncio.sleep(0)  # what was cancelled ends
        assert len(company.built) == 1
        assert not (tmp_path / "second.db").exists()
        assert [task.get_name() for task in asyncio.all_tasks()].count("loop monitor") == 1


async def test_a_start_that_fails_late_leaves_nothing_open(company: Company, configure: Configure) -> None:
    """If the sinks can't be built, the store is free again, and nothing listens any more."""
    broken = configure(sinks={"duty": {"type": "pager", "broken": True}})
    for _ in range(2):  # the second would be told that the store is held
        bridge = Bridge(broken, company.plugins)
        with pytest.raises(ZeroDivisionError):
            await bridge.start()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", bridge.port)


@asynccontextmanager
async def waiting(settings: Settings, company: Company) -> AsyncIterator[tuple[Bridge, asyncio.Task[None]]]:
    """A bridge whose store does not open yet, and its start."""
    bridge = Bridge(settings, company.plugins)
    start = asyncio.create_task(bridge.start())
    try:
        async with asyncio.timeout(10):
            while bridge._store_opener.trouble is None:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.01)
        yield bridge, start
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await bridge.stop()


async def test_a_reload_that_can_not_be_used_once_the_store_opens(
    tmp_path: Path, company: Company, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """It could not be tried before: it is refused then, and the settings of the start are used."""
    (tmp_path / "folder").write_text("in the way")
    store = {"url": f"sqlite:///{tmp_path}/folder/store.db"}
    async with waiting(configure(store=store), company) as (bridge, start):
        broken = {"bad": {"type": "pager", "broken": True}}
        await bridge.reload(configure(store=store, sinks=broken, routes=[{"sinks": ["bad"]}]))
        (tmp_path / "folder").unlink()
        await start
        logged = capsys.readouterr().err
        assert '"problems": ["ZeroDivisionError: ' in logged
        assert "bridge.reload_refused" in logged
        assert [live.name for live in bridge.sinks()] == ["duty"]
        await company.built[0].sends(1)


async def test_a_start_that_waited_and_then_fails(
    tmp_path: Path, company: Company, configure: Configure
) -> None:
    """Without a reload, settings that the start can't use end it, as without a wait."""
    (tmp_path / "folder").write_text("in the way")
    store = {"url": f"sqlite:///{tmp_path}/folder/store.db"}
    broken = configure(store=store, sinks={"duty": {"type": "pager", "broken": True}})
    async with waiting(broken, company) as (_, start):
        (tmp_path / "folder").unlink()
        with pytest.raises(ZeroDivisionError):
            await start


async def readiness(bridge: Bridge) -> tuple[str, list[str], str]:
    """Return the readiness by ``/readyz``, the status document and the dashboard."""
    async with ClientSession(f"http://127.0.0.1:{bridge.port}") as client:
        async with client.get("/readyz") as answer:
            ready = await answer.text()
        async with client.get("/api/v1/status") as answer:
            document = await answer.json()
        async with client.get("/") as answer:
            return ready, document["reasons"], await answer.text()


async def test_a_reload_makes_only_what_is_new_unready(
    company: Company, configure: Configure, sim: Simulator
) -> None:
    """Pages wait for a controller that a reload brings, not for one polled before; all pages agree."""
    poll = {"interval": "50ms", "idle_interval": "50ms"}
    known = {"url": sim.url, "first_run": "all", "poll": poll}
    async with Simulator(auth=OPEN) as slow, running(configure(), company) as bridge:
        async with asyncio.timeout(10):
            while (await readiness(bridge))[0] != "ready\n":  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.01)
        with slow.outage("timeout"), sim.outage("timeout"):
            both = {"emea": known, "apac": known | {"url": slow.url}}
            await bridge.reload(configure(controllers=both))
            ready, reasons, page = await readiness(bridge)
            missing = "the first poll of controller apac is not finished yet"
            assert ready == f"not ready\n{missing}\n"
            assert reasons == [missing]
            assert missing in page
            await bridge.reload(configure(controllers={"emea": known}))
            ready, reasons, page = await readiness(bridge)
            assert (ready, reasons) == ("ready\n", [])
            assert missing not in page


async def test_a_token_is_replaced_and_taken_away_by_a_reload(
    company: Company, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before opens for a minute more; without one nobody gets in, and a line says what to do."""

    def http(token: str | None) -> dict[str, Any]:
        return {"listen": "127.0.0.1:0"} | ({"token": token} if token else {})

    async def opens(bridge: Bridge, token: str) -> bool:
        headers = {"Authorization": f"Bearer {token}", "Via": "1.1 proxy"}
        async with (
            ClientSession(headers=headers) as client,
            client.get(f"http://127.0.0.1:{bridge.port}/metrics") as answer,
        ):
            return answer.status == 200

    async with running(configure(http=http("first" * 4)), company) as bridge:
        await bridge.reload(configure(http=http("second" * 4)))
        logged = capsys.readouterr().err
        assert "bridge.reloaded" in logged
        assert "bridge.reload_partial" not in logged
        assert [await opens(bridge, token) for token in ("first" * 4, "second" * 4)] == [True, True]
        await bridge.reload(configure(http=http(None)))
        assert '"keys": ["http"]' in capsys.readouterr().err
        assert [await opens(bridge, token) for token in ("first" * 4, "second" * 4)] == [False, False]
