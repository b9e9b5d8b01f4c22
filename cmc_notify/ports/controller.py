"""What the poller and the commands need from a controller."""

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
        """The job; raises MalformedJob (with the id where one can be found)."""
        ...


class JobSource(Protocol):
    """A controller's resources. Every method raises ControllerUnreachable or Unauthorized."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds that the controller's clock is ahead of ours, by its last answer; None if it never said."""
        ...

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        feature_id: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[ListedJob]:
        """The job list with the vendor's four filters; ``status`` is sent as given."""
        ...

    async def get_job(self, job_id: int) -> ListedJob:
        """One job by id; raises JobNotFound."""
        ...

    async def cancel_job(self, job_id: int) -> Job:
        """Ask the controller to cancel; returns the job as it answers. Raises JobNotFound."""
        ...

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:
        """The features that can be pushed."""
        ...

    async def get_feature(self, feature_id: int) -> Feature | None:
        """One feature by id; None where the controller does not know it."""
        ...

    async def list_appliances(self) -> Sequence[Appliance]:
        """The inventory; empty where this account can't read it or the service is absent."""
        ...

    async def sign_in(self) -> None:
        """Prove that address and credentials are right (``check --online``)."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
