"""Silences in the store, as people add them and as the poller finds them; on both databases."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.model import JobState
from cmc_notify.core.silences import Silence
from cmc_notify.ports import DeliveryFilter, PollCommit
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]
START = 1_795_425_600.0
"""The first time of the store's clock."""


def silence(name: str, **fields: Any) -> Silence:
    """Of all controllers' V2AB appliances for an hour from the start, unless said otherwise."""
    known: dict[str, Any] = {
        "starts_at": START,
        "ends_at": START + 3600,
        "created_by": "ops",
        "created_at": START,
    }
    return Silence(id=name, **{"serials": ("V2AB*",)} | known | fields)


async def names(store: Store, *, now: float = START, expired: bool = False) -> list[str]:
    """The ids that a list shows."""
    return [each.id for each in await store.silences.list_silences(now=now, expired=expired)]


async def test_a_silence_comes_back_as_it_was_added(store: Store) -> None:
    """Whatever is in it, in a list and for the poller."""
    whole = silence(
        "s1",
        controllers=("emea", "ap*"),
        jobs=(42, 7),
        features=("QoS",),
        subject="job:emea:42-1",
        created_by="Zoë",
        comment="line\none 'two' \u2028",
        until_job=True,
    )
    await store.silences.add(whole)
    assert await store.silences.list_silences(now=START) == [whole]
    assert await store.silences.active(now=START) == [whole]
    assert await store.poll.load_silences("emea", now=START) == [whole]


async def test_only_what_acts_now_and_could_concern_the_controller_is_active(store: Store) -> None:
    """One that is to start, one that is over and another controller's are not; those that end are no more."""
    await store.silences.add(silence("later", starts_at=START + 10))
    await store.silences.add(silence("short", ends_at=START + 5))
    await store.silences.add(silence("emea", controllers=("em*",)))
    await store.silences.add(silence("apac", controllers=("apac",)))

    async def active(controller: str, at: float) -> set[str]:
        return {each.id for each in await store.poll.load_silences(controller, now=START + at)}

    assert await active("emea", 0) == {"short", "emea"}
    assert await active("emea", 5) == {"emea"}
    assert await active("apac", 10) == {"later", "apac"}
    assert await active("emea", 3600) == set()
    assert {each.id for each in await store.silences.active(now=START)} == {"short", "emea", "apac"}


async def test_an_ended_silence_is_listed_only_when_asked_for(store: Store) -> None:
    """Active and future silences are listed, the earliest end first."""
    await store.silences.add(silence("long", ends_at=START + 90))
    await store.silences.add(silence("future", starts_at=START + 50, ends_at=START + 80))
    await store.silences.add(silence("short", ends_at=START + 10))
    assert await names(store) == ["short", "future", "long"]
    assert await names(store, now=START + 10) == ["future", "long"]
    assert await names(store, now=START + 10, expired=True) == ["short", "future", "long"]


async def test_expiring_ends_a_silence_at_once_and_once(store: Store, open_another: OpenAnother) -> None:
    """Beside a bridge, too; one that was still to start has then never acted."""
    beside = await open_another()
    await beside.silences.add(silence("now"))
    await beside.silences.add(silence("later", starts_at=START + 100))
    assert await beside.silences.expire("now", now=START + 5)
    assert await store.silences.expire("later", now=START + 5)
    assert await names(store, now=START + 5) == []
    ended = await store.silences.list_silences(now=START + 5, expired=True)
    assert {(each.id, each.starts_at, each.ends_at) for each in ended} == {
        ("now", START, START + 5),
        ("later", START + 5, START + 5),
    }
    assert not await store.silences.expire("now", now=START + 6)
    assert not await store.silences.expire("never", now=START)


async def test_a_commit_ends_the_silences_of_the_job_that_ended(
    store: Store, hands: SimpleNamespace, make_commit: MakeCommit, make_state: MakeState
) -> None:
    """In its own transaction; others go on."""
    await store.silences.add(silence("until", subject="job:emea:1-1", until_job=True))
    await store.silences.add(silence("other"))
    hands.now += 7
    await store.poll.commit_poll(make_commit(0, make_state(1), ended_silences=("until",)))
    assert await names(store, now=hands.now) == ["other"]


async def test_a_silenced_event_has_a_row_that_names_the_silence(
    store: Store, commit_event: CommitEvent
) -> None:
    """It belongs to no sink, is finished, and is not made to be sent by a retry."""
    [row_id] = await commit_event({"sink": "", "silenced_by": "silence s1 by ops"})
    [row] = await store.ledger.deliveries(DeliveryFilter(state=DeliveryState.SILENCED))
    assert (row.delivery.id, row.delivery.sink, row.delivery.last_error) == (row_id, "", "silence s1 by ops")
    assert row.delivery.finished_at == START
    assert await store.ledger.depths() == []
    assert await store.ledger.retry([row_id], now=START) == []
    assert await store.outbox.claim("", owner="o", limit=9, lease=60) == []


@pytest.mark.parametrize("kept", [True, False])
async def test_retention_forgets_silences_that_ended_long_ago(store: Store, *, kept: bool) -> None:
    """Never one that acts, or ended since."""
    await store.silences.add(silence("s1", ends_at=START if kept else START - 1, starts_at=START - 9))
    await store.silences.add(silence("s2"))
    assert await store.housekeeping.forget(before=START) == (0 if kept else 1)
    assert await names(store, expired=True) == (["s1", "s2"] if kept else ["s2"])
