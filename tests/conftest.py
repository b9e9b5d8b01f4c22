"""What holds for every test."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.postgres import PostgresServer, postgres_server

# Time is not what properties are about, and a busy machine is no fault of the code; pytest-timeout bounds
# them. In CI, Hypothesis' own profile says the same and draws the same examples each time.
if settings.get_current_profile_name() != "ci":
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


# A shell that starts the tests in the background has them ignore Ctrl-C, and whatever they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own, one for each process of pytest that needs it."""
    pytest.importorskip("asyncpg", reason="no PostgreSQL: install the extra 'dev'")
    with postgres_server() as server:
        yield server
