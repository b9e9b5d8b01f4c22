"""The controller, as the poller and the commands need it."""

from collections.abc import Sequence
from typing import Protocol

from cmc_notify.core.model import Appliance, Feature, Job


class ListedJob(Protocol):
    """One item of a job list, not yet decoded."""

    @property
    def digest(self) -> bytes:
        """16 bytes that change whenever the item's bytes change."""
        ...

    def decode(self) -> Job:
        """Return the job; raises MalformedJob (with the id if it has one)."""
        ...


class JobSource(Protocol):
    """A controller's resources. Every method raises ControllerUnreachable or Unauthorized."""

    @property
    def clock_offset(self) -> float | None:
        """The seconds by which the controller's clock is ahead of ours, by its last response; else None."""
        ...

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        feature_id: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[ListedJob]:
        """Return the job list with the vendor's four filters; ``status`` is sent as given."""
        ...

    async def get_job(self, job_id: int) -> ListedJob:
        """Return one job by id; raises JobNotFound."""
        ...

    async def cancel_job(self, job_id: int) -> Job:
        """Cancel a job; returns it as in the controller's response. Raises JobNotFound."""
        ...

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:
        """Return the features that can be pushed."""
        ...

    async def get_feature(self, feature_id: int) -> Feature | None:
        """Return one feature by id; None if the controller does not know it."""
        ...

    async def list_appliances(self) -> Sequence[Appliance]:
        """Return the inventory; empty if this account can't read it or the service is absent."""
        ...

    async def sign_in(self) -> None:
        """Check that URL and credentials work (``check --online``)."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
