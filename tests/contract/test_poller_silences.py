"""Silences in the poller: counted from the next poll on, ended with their job, and held over an outage."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from poller_stage import PollerStage, polling

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.silences import Silence
from cmc_notify.ports import DeliveryFilter
from cmc_notify.simulator import Row


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[PollerStage]:
    """An empty controller whose first full list is committed."""
    async with polling(tmp_path) as made:
        assert await made.poll() == []
        yield made


async def silence(stage: PollerStage, name: str = "s1", seconds: float = 3600, **asked: Any) -> None:
    """Somebody adds one, beside the poller."""
    now = stage.sim.now
    await stage.store.silences.add(
        Silence(id=name, starts_at=now, ends_at=now + seconds, created_by="ops", created_at=now, **asked)
    )


async def told(stage: PollerStage) -> list[str]:
    """The last poll's events, each with the state of its rows in the ledger."""
    before = await stage.store.ledger.deliveries(DeliveryFilter(limit=1000))
    await stage.poll()
    known = {row.delivery.id for row in before}
    rows = await stage.store.ledger.deliveries(DeliveryFilter(limit=1000))
    new = [row for row in rows if row.delivery.id not in known]
    return [f"{row.event_type} {row.delivery.state}" for row in reversed(new)]


async def test_a_silence_counts_from_the_next_poll_on_and_its_end_too(stage: PollerStage) -> None:
    """Added and expired beside the poller; what failed meanwhile is open, and nobody was told."""
    job = stage.sim.jobs.add(feature_ids=[3])
    assert await told(stage) == ["job.queued pending"]
    await silence(stage, serials=("V1",))
    job.start()
    job.set_rows([Row("V1", 3, "Completed", "Fail", "broke"), Row("V2", 3, "Running")])
    assert await told(stage) == ["job.started pending", "appliance.failed silenced"]
    [row] = await stage.store.ledger.deliveries(DeliveryFilter(state=DeliveryState.SILENCED))
    assert row.delivery.last_error == "silence s1 by ops"
    [incident] = await stage.store.ledger.incidents()
    assert (incident.serial, incident.audience) == ("V1", {})
    await stage.store.silences.expire("s1", now=stage.sim.now)
    with job.change():
        job.set_row("V2", 3, "Success")
        job.finish("Failed")
    assert await told(stage) == ["job.failed pending"]
    [incident] = await stage.store.ledger.incidents()
    assert set(incident.audience) == {"hook"}


async def test_a_silence_until_the_job_ends_is_written_off_with_its_end(stage: PollerStage) -> None:
    """In the commit that tells the end, so that a rerun is told also after a restart."""
    job = stage.sim.jobs.add(feature_ids=[3])
    await told(stage)
    [(_, state)] = await stage.store.ledger.jobs()
    await silence(stage, subject=f"job:emea:{state.uid}", until_job=True)
    job.start()
    assert await told(stage) == ["job.started silenced"]
    job.finish("Success")
    assert await told(stage) == ["job.succeeded pending"]
    assert await stage.store.silences.list_silences(now=stage.sim.now) == []


async def test_the_end_of_an_outage_is_told_to_nobody_where_nobody_was_told_of_it(
    stage: PollerStage,
) -> None:
    """Though the silence is over by then; also over a restart."""
    await silence(stage, seconds=100, controllers=("emea",))
    with stage.sim.outage("503"):
        await stage.poll()
        assert await told(stage) == ["controller.unreachable silenced"]
        stage.restart()
        stage.sim.advance(100)
    assert await told(stage) == ["controller.recovered silenced"]
    assert (await stage.meta()).silenced_by is None


async def test_the_end_of_an_outage_is_told_where_it_was_told_whatever_is_silenced_meanwhile(
    stage: PollerStage,
) -> None:
    """Recovery follows the opening."""
    with stage.sim.outage("503"):
        await stage.poll()
        assert await told(stage) == ["controller.unreachable pending"]
        await silence(stage, controllers=("*",))
    assert await told(stage) == ["controller.recovered pending"]


@pytest.mark.parametrize("first", ["silenced", "pending"])
async def test_an_outage_that_was_told_at_all_has_its_end_told(stage: PollerStage, first: str) -> None:
    """Refused credentials and then no answer are two events of one outage; one of them was silenced."""
    if first == "silenced":
        await silence(stage, seconds=20, controllers=("emea",))
    with stage.sim.outage("401"):
        assert await told(stage) == [f"controller.unauthorized {first}"]
    if first == "pending":
        await silence(stage, controllers=("emea",))
    with stage.sim.outage("503"):
        second = "pending" if first == "silenced" else "silenced"
        assert await told(stage) == [f"controller.unreachable {second}"]
    assert await told(stage) == ["controller.recovered pending"]


async def test_other_silences_leave_the_controllers_own_outage_told(stage: PollerStage) -> None:
    """Whoever silenced its jobs or appliances still wants to know that nobody watches them."""
    await silence(stage, "s1", serials=("*",))
    await silence(stage, "s2", controllers=("emea",), jobs=(1,))
    with stage.sim.outage("503"):
        await stage.poll()
        assert await told(stage) == ["controller.unreachable pending"]
