"""A cache of the names of features and appliances, refreshed at little cost.

If the controller does not respond here, messages lose names, never contents.
"""

from collections.abc import Iterable

import structlog

from cmc_notify.core.model import Feature, Job, Names
from cmc_notify.errors import ControllerError
from cmc_notify.ports import JobSource

_log = structlog.get_logger(__name__)

REFRESH = 3600.0
"""Seconds after which everything is read again."""

RETRY_MISSING_AFTER = 300.0
"""Seconds before a name that the controller did not have is requested again."""


class NameCache:
    """The names of one controller's features and appliances."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self._features: dict[int, Feature] = {}
        self._appliances: dict[str, str] = {}
        self._read_at: dict[str, float] = {}
        self._requested_at: dict[int | str, float] = {}

    async def learn(self, jobs: Iterable[Job], *, now: float) -> Names:
        """Read the names that these jobs need, as far as the controller has them."""
        ids: set[int] = set()
        serials: set[str] = set()
        for job in jobs:
            ids.update(job.feature_ids)
            ids.update(row.feature_id for row in job.rows if row.feature_id is not None)
            serials.update(row.serial for row in job.rows if row.serial is not None)
        if self._due("features", ids - self._features.keys(), now):
            await self._read_features(ids)
        if self._due("appliances", serials - self._appliances.keys(), now):
            await self._read_appliances()
        return self.known()

    def known(self) -> Names:
        """Return the names read so far, without a request."""
        return Names(dict(self._features), dict(self._appliances))

    def _due(self, what: str, missing: Iterable[int | str], now: float) -> bool:
        """Return True if it was never read, was read long ago, or lacks a name not requested lately."""
        unrequested = [
            key
            for key in missing
            if now - self._requested_at.get(key, -RETRY_MISSING_AFTER) >= RETRY_MISSING_AFTER
        ]
        due = bool(unrequested) or now - self._read_at.get(what, -REFRESH) >= REFRESH
        if due:
            self._read_at[what] = now
            self._requested_at.update(dict.fromkeys(unrequested, now))
        return due

    async def _read_features(self, wanted: set[int]) -> None:
        try:
            for feature in await self._source.list_features():
                self._features[feature.id] = feature
            for feature_id in sorted(wanted - self._features.keys())[:50]:
                if (one := await self._source.get_feature(feature_id)) is not None:
                    self._features[one.id] = one
        except ControllerError as error:
            _log.warning("features.unreadable", error=str(error))

    async def _read_appliances(self) -> None:
        try:
            for appliance in await self._source.list_appliances():
                if appliance.hostname:
                    self._appliances[appliance.serial] = appliance.hostname
        except ControllerError as error:
            _log.warning("inventory.unreadable", error=str(error))
