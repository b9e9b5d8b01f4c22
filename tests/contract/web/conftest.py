"""Fixtures for tests of the web pages."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cmc_notify.telemetry import Metrics
from cmc_notify.web import create_app
from support.web_fakes import NOW, Client, FakeActions, FakeLedger, FakeSessions, FakeSilences, FakeStatus


@pytest.fixture
def ledger() -> FakeLedger:
    """The store behind the pages."""
    return FakeLedger()


@pytest.fixture
def status() -> FakeStatus:
    """The process behind the pages."""
    return FakeStatus()


@pytest.fixture
def app(ledger: FakeLedger, status: FakeStatus) -> web.Application:
    """The application on loopback, without a token."""
    return create_app(
        ledger=ledger,
        silences=FakeSilences(),
        status=status,
        metrics=Metrics(),
        actions=FakeActions(),
        sessions=FakeSessions(),
        clock=lambda: NOW,
    )


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    """A client of the application on a real socket."""
    async with TestClient(TestServer(app)) as found:
        yield found
