"""Fixtures for tests of the poller."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.poller_harness import PollerHarness, polling


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[PollerHarness]:
    """An empty controller whose first full list is committed."""
    async with polling(tmp_path) as made:
        assert await made.poll() == []
        yield made
