"""Fixtures for tests of the whole program."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.command_line import Ended, in_process
from support.store_faults import (
    fail_jobs,
)


@pytest.fixture
def in_thread() -> Callable[..., Awaitable[Ended]]:
    """A command beside the servers that run in the test's own loop."""

    async def run(*arguments: str) -> Ended:
        return await asyncio.to_thread(in_process, *arguments)

    return run


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A controller with two failed jobs."""
    async with Simulator(auth=OPEN) as started:
        fail_jobs(started, 2)
        yield started


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook's other side."""
    async with Receiver() as started:
        yield started
