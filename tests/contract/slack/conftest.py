"""Fixtures for tests of the Slack sinks."""

from collections.abc import AsyncIterator

import pytest

from cmc_notify.simulator.slack import SlackServer
from cmc_notify.sinks.slack import BotSink
from support.recorded_parts import Parts
from support.slack_bot import sink_for


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace with the channel #netops."""
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def sink(slack: SlackServer) -> AsyncIterator[BotSink]:
    """A sink for #netops with the real templates."""
    built = sink_for(slack)
    yield built
    await built.close()


@pytest.fixture
def parts() -> Parts:
    """A recorder of accepted parts."""
    return Parts()
