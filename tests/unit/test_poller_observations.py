"""Adding a controller's response with many new jobs."""

import asyncio
from typing import NamedTuple

import pytest

from cmc_notify.core.model import Job
from cmc_notify.poller import time_slices
from cmc_notify.poller.memory import KnownJobs
from cmc_notify.poller.observations import Observations


class Item(NamedTuple):
    """One job of a list, not yet decoded."""

    job_id: int

    @property
    def digest(self) -> bytes:
        """Other than that of every other item."""
        return self.job_id.to_bytes(16)

    def decode(self) -> Job:
        """A job that is done."""
        return Job(id=self.job_id, status="Success", creation_time=self.job_id)


async def test_others_get_their_turn_while_many_jobs_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks run after each slice of the work, and all jobs are there in their order."""
    monkeypatch.setattr(time_slices, "SLICE", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    looks = Observations(KnownJobs([]), lambda job: job, {})
    task = asyncio.create_task(other())
    shown = await looks.add([Item(number) for number in range(1, 51)])
    task.cancel()
    assert turns >= 50
    assert len(shown) == 50
    assert [identity.id for identity in looks.discovered()] == [*range(1, 51)]
