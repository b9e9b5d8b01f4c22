"""The housekeeper's log, and that a store that fails does not stop it."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from structlog.testing import capture_logs

from cmc_notify.errors import StoreUnavailable
from cmc_notify.housekeeping import Housekeeper

T = TypeVar("T")


class Store:
    """A store with fixed results that notes its calls."""

    def __init__(self, ended: Mapping[str, int], *, broken: bool = False) -> None:
        self.ended = ended
        self.broken = broken
        self.requests: list[object] = []

    async def forget(self, *, before: float) -> int:
        """Note until when."""
        self.requests.append(before)
        return self._answer(7)

    async def end_unserved(self, served: Collection[str]) -> Mapping[str, int]:
        """Note for whom."""
        self.requests.append(sorted(served))
        return self._answer(self.ended)

    def _answer(self, answer: T) -> T:
        if self.broken:
            raise StoreUnavailable("disk full")
        return answer


def housekeeper(store: Store) -> Housekeeper:
    """At 1000 s, keeping for 100 s."""
    return Housekeeper(store, retention=100, sinks=["mail", "chat"], clock=lambda: 1000.0)


async def test_each_removed_sink_is_named_with_its_dead_letters() -> None:
    """One warning per sink, with the way to send them; none if there are none."""
    store = Store({"pager": 3, "old_mail": 1})
    with capture_logs() as log:
        await housekeeper(store).end_unserved()
        await housekeeper(Store({})).end_unserved()
    assert store.requests == [["chat", "mail"]]
    assert [(line["event"], line["sink"], line["dead"]) for line in log] == [
        ("outbox.sink_removed", "pager", 3),
        ("outbox.sink_removed", "old_mail", 1),
    ]
    assert all("deliveries retry" in line["remedy"] for line in log)


async def test_what_is_older_than_the_retention_is_forgotten() -> None:
    """Counted from now, and logged with the number."""
    store = Store({})
    with capture_logs() as log:
        await housekeeper(store).delete_old()
    assert store.requests == [900.0]
    assert [(line["event"], line["deleted"]) for line in log] == [("housekeeping.done", 7)]


async def test_a_store_that_fails_is_left_for_the_next_time() -> None:
    """Nothing is raised; the reason is logged."""
    with capture_logs() as log:
        await housekeeper(Store({}, broken=True)).delete_old()
        await housekeeper(Store({}, broken=True)).end_unserved()
    assert [(line["event"], line["error"]) for line in log] == [("housekeeping.failed", "disk full")] * 2
