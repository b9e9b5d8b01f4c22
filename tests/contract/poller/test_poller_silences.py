"""Silences in the poller: counted from the next poll on, ended with their job, and held over an outage."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.silences import Silence
from cmc_notify.ports import DeliveryFilter
from cmc_notify.simulator import Row
from support.poller_harness import PollerHarness, polling


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[PollerHarness]:
    """An empty controller whose first full list is committed."""
    async with polling(tmp_path) as made:
        assert await made.poll() == []
        yield made


async def silence(harness: PollerHarness, name: str = "s1", seconds: float = 3600, **asked: Any) -> None:
    """Add a silence by hand, while the poller runs."""
    now = harness.sim.now
    await harness.store.silences.add(
        Silence(id=name, starts_at=now, ends_at=now + seconds, created_by="ops", created_at=now, **asked)
    )


async def told(harness: PollerHarness) -> list[str]:
    """The last poll's events, each with the state of its rows in the ledger."""
    before = await harness.store.ledger.deliveries(DeliveryFilter(limit=1000))
    await harness.poll()
    known = {row.delivery.id for row in before}
    rows = await harness.store.ledger.deliveries(DeliveryFilter(limit=1000))
    new = [row for row in rows if row.delivery.id not in known]
    return [f"{row.event_type} {row.delivery.state}" for row in reversed(new)]


async def test_a_silence_counts_from_the_next_poll_on_and_its_end_too(harness: PollerHarness) -> None:
    """Added and expired while the poller runs; a failure meanwhile is open, and nobody was notified."""
    job = harness.sim.jobs.add(feature_ids=[3])
    assert await told(harness) == ["job.queued pending"]
    await silence(harness, serials=("V1",))
    job.start()
    job.set_rows([Row("V1", 3, "Completed", "Fail", "broke"), Row("V2", 3, "Running")])
    assert await told(harness) == ["job.started pending", "appliance.failed silenced"]
    [row] = await harness.store.ledger.deliveries(DeliveryFilter(state=DeliveryState.SILENCED))
    assert row.delivery.last_error == "silence s1 by ops"
    [failure] = await harness.store.ledger.failures()
    assert (failure.serial, failure.notified) == ("V1", {})
    await harness.store.silences.expire("s1", now=harness.sim.now)
    with job.change():
        job.set_row("V2", 3, "Success")
        job.finish("Failed")
    assert await told(harness) == ["job.failed pending"]
    [failure] = await harness.store.ledger.failures()
    assert set(failure.notified) == {"hook"}


async def test_a_silence_until_the_job_ends_is_written_off_with_its_end(harness: PollerHarness) -> None:
    """In the commit with the end, so that a rerun is announced also after a restart."""
    job = harness.sim.jobs.add(feature_ids=[3])
    await told(harness)
    [(_, state)] = await harness.store.ledger.jobs()
    await silence(harness, subject=f"job:emea:{state.uid}", until_job=True)
    job.start()
    assert await told(harness) == ["job.started silenced"]
    job.finish("Success")
    assert await told(harness) == ["job.succeeded pending"]
    assert await harness.store.silences.list_silences(now=harness.sim.now) == []


async def test_the_end_of_an_outage_notifies_nobody_if_its_start_notified_nobody(
    harness: PollerHarness,
) -> None:
    """Though the silence has ended by then; also after a restart."""
    await silence(harness, seconds=100, controllers=("emea",))
    with harness.sim.outage("503"):
        await harness.poll()
        assert await told(harness) == ["controller.unreachable silenced"]
        harness.restart()
        harness.sim.advance(100)
    assert await told(harness) == ["controller.recovered silenced"]
    assert (await harness.meta()).silenced_by is None


async def test_the_end_of_an_outage_notifies_those_notified_of_it_whatever_is_silenced_meanwhile(
    harness: PollerHarness,
) -> None:
    """Recovery follows the opening."""
    with harness.sim.outage("503"):
        await harness.poll()
        assert await told(harness) == ["controller.unreachable pending"]
        await silence(harness, controllers=("*",))
    assert await told(harness) == ["controller.recovered pending"]


@pytest.mark.parametrize("first", ["silenced", "pending"])
async def test_an_outage_that_notified_anybody_has_its_end_notified(
    harness: PollerHarness, first: str
) -> None:
    """Refused credentials and then no response are two events of one outage; one of them was silenced."""
    if first == "silenced":
        await silence(harness, seconds=20, controllers=("emea",))
    with harness.sim.outage("401"):
        assert await told(harness) == [f"controller.unauthorized {first}"]
    if first == "pending":
        await silence(harness, controllers=("emea",))
    with harness.sim.outage("503"):
        second = "pending" if first == "silenced" else "silenced"
        assert await told(harness) == [f"controller.unreachable {second}"]
    assert await told(harness) == ["controller.recovered pending"]


async def test_other_silences_do_not_hide_the_controllers_own_outage(harness: PollerHarness) -> None:
    """People who silenced its jobs or appliances still want to know that nobody watches them."""
    await silence(harness, "s1", serials=("*",))
    await silence(harness, "s2", controllers=("emea",), jobs=(1,))
    with harness.sim.outage("503"):
        await harness.poll()
        assert await told(harness) == ["controller.unreachable pending"]
