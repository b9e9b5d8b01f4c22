"""How the bridge waits for its store: patiently, and without filling the log."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from cmc_notify.app import store_startup
from cmc_notify.app.store_startup import StoreOpener
from cmc_notify.errors import StoreError, StoreLocked, StoreUnavailable


class Stores:
    """Answers each try with what the test planned, then with a store."""

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
    """What is waited between tries, in no time."""
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


async def test_it_waits_longer_each_time_and_tells_a_reason_once(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From half a second to five; a line when the reason is another, none when it stays the same."""
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
    """Who reads the end of the log finds the reason there, however long ago it began."""
    monkeypatch.setattr(store_startup, "REMIND_EVERY", 0.0)
    with structlog.testing.capture_logs() as logged:
        await serve(Stores(*[StoreUnavailable("away")] * 3), monkeypatch).open(lambda: "x")
    assert [line["event"] for line in logged] == ["store.unavailable"] * 3 + ["store.opened"]


@pytest.mark.parametrize("error", [StoreLocked("held by process 7"), StoreError("written by a newer one")])
async def test_what_waiting_does_not_mend_is_raised(
    error: StoreError, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another holder, a newer schema: the start ends, also after it has waited for something else."""
    stores = Stores(StoreUnavailable("away"), error)
    with pytest.raises(type(error), match=str(error)):
        await serve(stores, monkeypatch).open(lambda: "x")
    assert len(waits) == 1


async def test_a_store_that_fails_as_soon_as_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is closed again before the next try, which its lock would else refuse."""
    stores = Stores()
    stores.secret_fails = True
    await serve(stores, monkeypatch).open(lambda: "x")
    assert (len(stores.tried), stores.closed) == (2, 1)


async def test_a_reload_that_names_another_store_while_this_one_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store of the newest config is used, and the other one let go."""
    stores = Stores()
    urls = iter(["old", "new", "new", "new"])
    opened = await serve(stores, monkeypatch).open(lambda: next(urls))
    assert (opened.url, stores.tried, stores.closed) == ("new", ["old", "new"], 1)


async def test_a_reload_that_names_no_store_does_not_end_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What would end a start is told, and the next reload can correct it."""
    stores = Stores(StoreUnavailable("away"), StoreError("no such option"), StoreLocked("held"))
    urls = iter(["old", "bad", "taken", "good", "good"])
    opened = await serve(stores, monkeypatch).open(lambda: next(urls))
    assert (opened.url, stores.tried) == ("good", ["old", "bad", "taken", "good"])


async def test_a_first_try_that_works_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary start has no line of waiting."""
    with structlog.testing.capture_logs() as logged:
        assert (await serve(Stores(), monkeypatch).open(lambda: "x")).url == "x"
    assert logged == []
