"""The address of a PostgreSQL store, and what each connection to it is like."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from cmc_notify.errors import StoreMisconfigured
from cmc_notify.store import open_store
from cmc_notify.store.postgresql import parse_url, shown
from support.postgres import PostgresServer
from support.store_opening import clock


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u@h/d?sslmode=verfy-full", "sslmode=verfy-full is not possible; write one of"),
        ("postgresql://u@h/d?sslrotcert=/x", 'did you mean "sslrootcert"'),
        ("postgresql://u@h/d?connect_timeout=soon", "connect_timeout=soon is not a number"),
        ("postgresql://u@h/d?channel_binding=require", "channel_binding=require is not possible"),
        ("postgresql://u@h/d?target_session_attrs=master", "target_session_attrs=master is not possible"),
        ("postgresql://u:s3cr3t@h1:99999,h2/d", "a port must be a number from 1 to 65535"),
    ],
)
async def test_a_wrong_option_is_an_error_of_the_config(url: str, words: str) -> None:
    """An option that can't be right ends the start at once, names the remedy, and shows no password."""
    with pytest.raises(StoreMisconfigured) as caught:
        await open_store(url, clock=clock, exclusive=True)
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://u:p@h1:5433,h2/d?sslmode=require", "postgresql://u@h1:5433,h2/d"),
        ("postgresql://u@[::1]:5433,h2:1/d", "postgresql://u@::1:5433,h2:1/d"),
        ("postgresql://u:p@h/d?options=-c%20x%3Dy", "postgresql://u@h/d"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, address: str) -> None:
    """Hosts and database are shown; password and options are not."""
    assert shown(parse_url(url)) == address


async def test_each_connection_is_as_the_store_needs_it(postgresql_server: PostgresServer) -> None:
    """READ COMMITTED, whatever the database's default; ended if frozen; named; statements without names."""
    url = await postgresql_server.new_database()
    name = url.split("?")[0].rsplit("/", 1)[1]
    statement = f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    await asyncio.to_thread(postgresql_server.run, statement)
    store = await open_store(
        f"{url}&application_name=bridge-7&connect_timeout=5", clock=clock, exclusive=True
    )
    async with store._database.read() as connection:
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "8s"
        assert await connection.scalar(text("SHOW application_name")) == "bridge-7"
        assert await connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
    await store.close()


async def test_a_database_that_holds_no_foreign_letter_is_refused(postgresql_server: PostgresServer) -> None:
    """A database that is not UTF-8 would stop a controller at the first letter that it can't hold."""
    for encoding, fits in (("LATIN1", False), ("SQL_ASCII", True)):
        name = f"encoded_{encoding.lower()}"
        await asyncio.to_thread(
            postgresql_server.run,
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        )
        url = postgresql_server.url.replace("/postgres?", f"/{name}?")
        if fits:
            await (await open_store(url, clock=clock, exclusive=True)).close()
            continue
        with pytest.raises(StoreMisconfigured, match="ENCODING 'UTF8'"):
            await open_store(url, clock=clock, exclusive=True)


async def test_a_missing_root_certificate_is_named(postgresql_server: PostgresServer, tmp_path: Path) -> None:
    """The error names the file that can't be read, not a database that does not run."""
    url = f"postgresql://u@127.0.0.1:1/d?sslmode=verify-full&sslrootcert={tmp_path}/none.pem"
    with pytest.raises(Exception, match=r"none\.pem") as caught:
        await open_store(url, clock=clock, exclusive=True)
    assert "check that the database runs" not in str(caught.value)
