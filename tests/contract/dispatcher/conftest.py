"""Fixtures for tests of the dispatcher."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.dispatcher_harness import (
    DispatcherHarness,
    empty_harness,
    make_brisk,
)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DispatcherHarness]:
    """An empty harness."""
    async with empty_harness(tmp_path) as made:
        yield made


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short."""
    make_brisk(monkeypatch)
