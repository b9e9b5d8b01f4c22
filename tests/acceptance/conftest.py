"""Fixtures for tests of the whole program."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from support.command_line import Ended, in_process


@pytest.fixture
def in_thread() -> Callable[..., Awaitable[Ended]]:
    """A command beside the servers that run in the test's own loop."""

    async def run(*arguments: str) -> Ended:
        return await asyncio.to_thread(in_process, *arguments)

    return run
