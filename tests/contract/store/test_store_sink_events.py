"""Events about the sinks, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.outcome import Blocked
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.core.sink_health import SinkCondition, SinkEvent, Streak, build_sink_event
from cmc_notify.ports import DeliveryFilter
from cmc_notify.store import Store

OpenAnother = Callable[..., Awaitable[Store]]
ROUTES = (Route(sinks=("mail", "chat")),)
RULES = {"mail": SinkProfile(), "chat": SinkProfile()}
DAY = 86400.0


def next_event(
    hands: SimpleNamespace, last: SinkCondition, *, seconds: float = 0, sink: str = "mail"
) -> SinkEvent:
    """Return the opposite of what was announced last."""
    streak = Streak().after(Blocked("401"), hands.now)
    return build_sink_event(sink, streak, last, now=hands.now + seconds, routes=ROUTES, sinks=RULES)


async def test_what_was_told_comes_back(store: Store, hands: SimpleNamespace) -> None:
    """Revision and since of the newest, for each sink; event and delivery stand in the ledger."""
    assert await store.sink_events.last_condition("mail") == SinkCondition()
    failing = next_event(hands, SinkCondition())
    assert await store.sink_events.commit(failing)
    assert await store.sink_events.last_condition("mail") == SinkCondition(1, "2026-11-23T09:20:00Z")
    assert await store.sink_events.last_condition("chat") == SinkCondition()
    assert await store.ledger.event(failing.event.id) == failing.event
    [row] = await store.ledger.deliveries(DeliveryFilter())
    assert (row.delivery.sink, row.delivery.state, row.event_type, row.controller) == (
        "chat",
        DeliveryState.PENDING,
        "sink.failing",
        None,
    )
    assert await store.sink_events.commit(next_event(hands, failing.condition))
    assert await store.sink_events.last_condition("mail") == SinkCondition(2, "2026-11-23T09:20:00Z")


async def test_what_does_not_follow_the_newest_is_refused(store: Store, hands: SimpleNamespace) -> None:
    """Neither a repeat nor a revision that skips one is written, nor anything of it."""
    first = next_event(hands, SinkCondition())
    assert await store.sink_events.commit(first)
    for stale in (SinkCondition(), SinkCondition(2), SinkCondition(3)):
        assert not await store.sink_events.commit(next_event(hands, stale, seconds=1))
    assert [event.id for event in await store.ledger.events()] == [first.event.id]
    assert len(await store.ledger.deliveries(DeliveryFilter())) == 1


async def test_replicas_that_see_it_together_announce_it_once(
    store: Store, hands: SimpleNamespace, open_another: OpenAnother
) -> None:
    """Of several that write the same turn at the same time one succeeds."""
    other = await open_another()
    committed = await asyncio.gather(
        *(
            one.sink_events.commit(next_event(hands, SinkCondition(), seconds=number))
            for number, one in enumerate([store, other] * 4)
        )
    )
    assert sorted(committed) == [False] * 7 + [True]
    assert len(await store.ledger.events()) == 1


@pytest.mark.parametrize("recovered", [False, True])
async def test_a_standing_failure_is_not_forgotten(
    store: Store, hands: SimpleNamespace, *, recovered: bool
) -> None:
    """However old, it is needed to announce the recovery; once that is announced both are deleted."""
    failing = next_event(hands, SinkCondition())
    assert await store.sink_events.commit(failing)
    if recovered:
        assert await store.sink_events.commit(next_event(hands, failing.condition))
    while claims := await store.outbox.claim("chat", owner="here", limit=9, lease=60):
        for claim in claims:
            result = AttemptResult(state=DeliveryState.SENT)
            assert await store.outbox.record(claim.delivery.id, owner="here", result=result)
    hands.now += 40 * DAY
    await store.housekeeping.forget(before=hands.now - 30 * DAY)
    assert await store.ledger.deliveries(DeliveryFilter()) == []
    assert [event.id for event in await store.ledger.events()] == ([] if recovered else [failing.event.id])
    assert (await store.sink_events.last_condition("mail")).failing is not recovered
