"""Fixtures for tests of the client of controllers."""

import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from support.raw_server import JOBS, no_jobs
from support.sign_in_server import SignInServer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """The controller's certificate."""
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The controller's side of TLS; a test may ask more of it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    return server


@pytest.fixture
async def url(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A controller behind TLS."""
    app = web.Application()
    app.router.add_get(JOBS, no_jobs)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def cmc() -> AsyncIterator[SignInServer]:
    """A running controller that wants to be signed in to."""
    fake = SignInServer()
    app = web.Application()
    app.router.add_post("/api/common/1.0/oauth/token", fake.exchange)
    app.router.add_post("/api/common/1.0/login", fake.log_in)
    app.router.add_get("/api/common/1.0/auth_info", fake.auth_info)
    app.router.add_get("/api/cmc.configurator/1.0/jobs", fake.jobs)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake
