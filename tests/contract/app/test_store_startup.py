"""The bridge's wait for its store: with patience, and without filling the log."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from cmc_notify.app import store_startup
from cmc_notify.app.store_startup import StoreOpener
from cmc_notify.errors import StoreError, StoreLocked, StoreUnavailable


class Stores:
    """Gives each try the planned result, then a store."""

    def __init__(self, *refusals: StoreError) -> None:
        self.refusals = list(refusals)
        self.tried: list[str] = []
        self.closed = 0
        self.secret_fails = False

    async def open(self, url: str, **_: Any) -> SimpleNamespace:
        """``open_store``."""
        self.tried.append(url)
        if self.refusals:
            raise self.refusals.pop(0)
        return SimpleNamespace(ledger=self, close=self.close)

    async def secret(self, _name: str) -> bytes:
        """The store's secret, if it can be read."""
        if self.secret_fails:
            self.secret_fails = False
            raise StoreUnavailable("gone again")
        return b"k" * 32

    async def close(self) -> None:
        """Count it."""
        self.closed += 1


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which pass at once."""
    waited: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(store_startup.asyncio, "sleep", note)
    return waited


def serve(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> StoreOpener:
    """An opening that finds these stores."""
    monkeypatch.setattr(store_startup, "open_store", stores.open)
    return StoreOpener(lambda: 0.0)


async def test_it_waits_longer_each_time_and_logs_a_reason_once(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From half a second to five; one line when the reason changes, none while it stays the same."""
    full, gone = "disk full", "no connection"
    stores = Stores(*(StoreUnavailable(reason) for reason in [full] * 4 + [gone] * 2 + [full]))
    begun = serve(stores, monkeypatch)
    with structlog.testing.capture_logs() as logged:
        opened = await begun.open(lambda: "sqlite:///x")
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert [line.get("error", line["event"]) for line in logged] == [full, gone, full, "store.opened"]
    assert {line["log_level"] for line in logged[:-1]} == {"error"}
    assert (opened.url, opened.link_secret, begun.trouble) == ("sqlite:///x", b"k" * 32, full)


async def test_the_log_is_reminded_of_what_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the log shows the reason, however long ago it began."""
    monkeypatch.setattr(store_startup, "REMIND_EVERY", 0.0)
    with structlog.testing.capture_logs() as logged:
        await serve(Stores(*[StoreUnavailable("away")] * 3), monkeypatch).open(lambda: "x")
    assert [line["event"] for line in logged] == ["store.unavailable"] * 3 + ["store.opened"]


@pytest.mark.parametrize("error", [StoreLocked("held by process 7"), StoreError("written by a newer one")])
async def test_an_error_that_waiting_does_not_fix_is_raised(
    error: StoreError, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another holder, a newer schema: the start ends, also after it has waited for something else."""
    stores = Stores(StoreUnavailable("away"), error)
    with pytest.raises(type(error), match=str(error)):
        await serve(stores, monkeypatch).open(lambda: "x")
    assert len(waits) == 1


async def test_a_store_that_fails_as_soon_as_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opened store is closed before the next try, which its lock would otherwise refuse."""
    stores = Stores()
    stores.secret_fails = True
    await serve(stores, monkeypatch).open(lambda: "x")
    assert (len(stores.tried), stores.closed) == (2, 1)


async def test_a_reload_that_names_another_store_while_this_one_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store of the newest config is used, and the other one is closed."""
    stores = Stores()
    urls = iter(["old", "new", "new", "new"])
    opened = await serve(stores, monkeypatch).open(lambda: next(urls))
    assert (opened.url, stores.tried, stores.closed) == ("new", ["old", "new"], 1)


async def test_a_reload_that_names_no_store_does_not_end_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that would end a start is logged, and the next reload can fix it."""
    stores = Stores(StoreUnavailable("away"), StoreError("no such option"), StoreLocked("held"))
    urls = iter(["old", "bad", "taken", "good", "good"])
    opened = await serve(stores, monkeypatch).open(lambda: next(urls))
    assert (opened.url, stores.tried) == ("good", ["old", "bad", "taken", "good"])


async def test_a_first_try_that_works_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A normal start logs no wait."""
    with structlog.testing.capture_logs() as logged:
        assert (await serve(Stores(), monkeypatch).open(lambda: "x")).url == "x"
    assert logged == []
