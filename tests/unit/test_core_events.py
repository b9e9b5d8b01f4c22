"""The part of an event that describes its job."""

import pytest

from cmc_notify.core.events import job_info
from cmc_notify.core.model import Job, Names

PUSHED = 1_795_420_000


@pytest.mark.parametrize(
    ("status", "pushed", "controller_now", "seconds"),
    [
        ("InProgress", PUSHED, PUSHED + 450.9, 450),
        ("InProgress", PUSHED, PUSHED - 5.0, 0),
        ("InProgress", PUSHED, None, None),
        ("InProgress", None, PUSHED + 450.0, None),
        ("Success", PUSHED, PUSHED + 450.0, None),
        ("Paused", PUSHED, PUSHED + 450.0, None),
    ],
)
def test_a_job_in_progress_says_for_how_long(
    status: str, pushed: int | None, controller_now: float | None, seconds: int | None
) -> None:
    """By the controller's clock alone: ours may differ by days."""
    job = Job(id=42, status=status, push_time=pushed)
    info = job_info(job, Names(), previous_status=None, controller_now=controller_now)
    assert info.running_for == seconds
