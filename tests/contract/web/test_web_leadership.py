"""What a bridge that shares its store says of the controllers that another polls."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web

from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import ControllerMeta, Ledger, PollCommit
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from cmc_notify.web import LiveController, LiveSink
from cmc_notify.web.access import Access
from cmc_notify.web.documents import controller_document
from cmc_notify.web.health import Health
from cmc_notify.web.overview import overview
from cmc_notify.web.readiness import Readiness
from support.new_store import new_store

NOW = 1_795_425_600.0


class One:
    """A process with one controller, as the test says."""

    stopping = False

    def __init__(self) -> None:
        self.live = LiveController(name="emea", tried=False)

    def controllers(self) -> Sequence[LiveController]:
        """It."""
        return [self.live]

    def sinks(self) -> Sequence[LiveSink]:
        """None."""
        return []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Where a replica committed a poll of two controllers, one of which nobody has configured any more."""
    opened = await new_store(tmp_path / "store.db", clock=lambda: NOW)
    for name in ("emea", "gone"):
        meta = ControllerMeta(last_poll_at=NOW)
        await opened.poll.commit_poll(PollCommit(controller=name, expected_version=0, meta=meta))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("tried", "polling", "leader", "ready"),
    [
        (False, True, "us", False),
        (True, True, "us", True),
        (False, False, None, False),
        (False, False, "another", True),
        (True, False, None, True),
        (True, True, None, True),
    ],
)
async def test_a_bridge_that_stands_by_is_ready(
    store: Store, tried: bool, polling: bool, leader: str | None, ready: bool
) -> None:
    """Where another replica polls there is nothing to try; where none does, it is not ready."""
    one = One()
    one.live = LiveController(name="emea", tried=tried, polling=polling, leader=leader)
    reasons = await Readiness(store.ledger, one).reasons()
    assert (reasons == []) == ready
    if not ready:
        assert reasons == ["the first poll of controller emea is not finished yet"]


async def test_the_status_says_who_polls(store: Store) -> None:
    """The replica's name, and whether it is this one."""
    one = One()
    one.live = LiveController(name="emea", tried=False, leader="host-1-ab")
    emea, gone = (await overview(store.ledger, one)).controllers
    assert (controller_document(emea)["polling"], controller_document(emea)["leader"]) == (False, "host-1-ab")
    assert controller_document(gone)["leader"] is None


async def test_every_replica_tells_the_same_lag(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the age of the last good poll, by whomever; it grows while the store says nothing, and there is
    none of a controller that left the config.
    """
    hands = SimpleNamespace(now=NOW + 7)
    metrics = Metrics()
    one = One()
    health = Health(
        ledger=store.ledger,
        status=one,
        readiness=Readiness(store.ledger, one),
        metrics=metrics,
        access=cast("Access", None),
        clock=lambda: hands.now,
    )

    async def lag(controller: str = "emea") -> float | None:
        await health.show_metrics(cast("web.Request", None))
        return metrics.registry.get_sample_value("cmc_notify_poll_lag_seconds", {"controller": controller})

    assert await lag() == 7
    assert await lag("gone") is None

    async def refuse(_self: Ledger) -> None:
        raise StoreUnavailable("store: gone")

    hands.now += 60
    with monkeypatch.context() as patch:
        patch.setattr(type(store.ledger), "snapshots", refuse)
        assert await lag() == 67
    await store.poll.commit_poll(
        PollCommit(controller="emea", expected_version=1, meta=ControllerMeta(last_poll_at=hands.now + 1))
    )
    assert await lag() == 0
