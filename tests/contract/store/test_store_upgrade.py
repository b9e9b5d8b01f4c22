"""Upgrading: a store written by any earlier schema keeps all it had, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, text

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import JobState, Pair
from cmc_notify.core.ticketing import failure_subject
from cmc_notify.errors import StoreError
from cmc_notify.ports import DeliveryFilter, PollCommit, TicketFilter
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.store import Store, open_store, schema
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import delivery_row, event_row
from cmc_notify.store.tables import deliveries, events, metadata

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
WriteOld = Callable[[str], Awaitable[None]]

EARLIER = [
    script.revision
    for script in ScriptDirectory(schema._MIGRATIONS).walk_revisions()
    if script.nextrev  # the newest has nothing after it
]


def bring_to(connection: Connection, revision: str) -> None:
    """Run the steps up to one."""
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.fixture
def write_old(
    blank_url: str, hands: SimpleNamespace, make_state: MakeState, make_commit: MakeCommit
) -> WriteOld:
    """Writes a store of a given schema, with an event and a delivery of each of two controllers.

    Only columns that the schema had are written: by name, as the program of that time would.
    """

    async def write(revision: str) -> None:
        database = Database(blank_url, lambda: hands.now)
        async with database.write() as connection:
            await connection.run_sync(bring_to, revision)
            had = await connection.run_sync(columns_of, "deliveries")
            for number, controller in enumerate(("emea", "apac")):
                given = {"id": f"old-{number}", "subject": "s"}
                commit = make_commit(0, make_state(number), deliveries=(given,), controller=controller)
                rows = [event_row(event, commit.event_uids[event.id], hands.now) for event in commit.events]
                await connection.execute(insert(events), rows)
                for delivery in commit.deliveries:
                    row = delivery_row(delivery, controller, hands.now)
                    if revision < "0005":
                        row["purpose"] = "tell"
                    known = {name: value for name, value in row.items() if name in had}
                    await connection.execute(insert(deliveries).values(known))
        await database.close()

    return write


OLD_SUBJECT = "incident:emea:V2AB0001:3"
OLD_KEY = "cmc-notify:incident:emea:V2AB0001:3"
OLD_FAILURE = """{"id":"f1","controller":"emea","serial":"V2AB0001","feature_id":3,"feature":"QoS",\
"feature_name":null,"appliance":null,"error_text":"incident: \\"audience\\":{ \u00e4","opened_at":1.5,\
"opened_event":"old-event","job_uid":"0-1795420000","job_id":0,"last_job_uid":"0-1795420000",\
"failed_order":[1795420005,0],"audience":{"chat":["old-0"],"audience":["d9"]},\
"tickets":{"desk":["incident:emea:V2AB0001:3","job:emea:0-1795420000"]},"scope":null,\
"closed_at":null,"closed_by":null}"""
OLD_ROWS = (
    (
        "INSERT INTO incidents (id, controller, pair, opened_at, opened_event, job_uid, last_job_uid, "
        "document) VALUES ('f1', 'emea', '[\"V2AB0001\",3]', 1.5, 'old-event', '0-1', '0-1', :document)"
    ),
    (
        "UPDATE deliveries SET subject = :subject, ordering_key = :subject, purpose = 'close', sink = 'desk'"
        " WHERE id = 'old-0'"
    ),
    (
        "INSERT INTO postings (sink, subject, controller, job_uid, reference, label, open, notes, changed_at)"
        " VALUES ('desk', :subject, 'emea', '0-1795420000', 'R1', 'INC0000001', true, '{}', 1.5)"
    ),
    """INSERT INTO acknowledgements (subject, "by", at) VALUES (:subject, 'anna', 1.5)""",
)
"""Rows of a bridge with schema 0004: a failure with its own ticket, and its end."""


def columns_of(connection: Connection, table: str) -> set[str]:
    """The names of a table's columns."""
    cursor = connection.execute(text(f"SELECT * FROM {table} WHERE false"))
    return set(cursor.keys())


async def listed(store: Store, controller: str) -> list[str]:
    """Ids of a controller's deliveries."""
    return [row.delivery.id for row in await store.ledger.deliveries(DeliveryFilter(controller=controller))]


@pytest.mark.parametrize("revision", EARLIER)
async def test_nothing_is_lost(
    blank_url: str, hands: SimpleNamespace, write_old: WriteOld, revision: str
) -> None:
    """Opened by the bridge, an old store has the newest schema and all that it had, ready to be sent."""
    await write_old(revision)
    with pytest.raises(StoreError, match="older than this program; restart the bridge"):
        await open_store(blank_url, clock=lambda: hands.now, exclusive=False)
    store = await open_store(blank_url, clock=lambda: hands.now, exclusive=True)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with store._database.read() as connection:
        assert await connection.run_sync(differences) == []
    assert (await listed(store, "emea"), await listed(store, "apac")) == (["old-0"], ["old-1"])
    claims = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    assert [(claim.delivery.id, claim.event.controller) for claim in claims] == [
        ("old-0", "emea"),
        ("old-1", "apac"),
    ]
    assert await store.leadership.acquire("emea", owner="me", ttl=60)
    await store.close()


async def test_a_failure_and_its_ticket_get_the_new_words(
    blank_url: str, hands: SimpleNamespace, write_old: WriteOld
) -> None:
    """An open failure stays open, and its ticket is closed under the key that it was opened with."""
    await write_old("0004")
    database = Database(blank_url, lambda: hands.now)
    async with database.write() as connection:
        for row in OLD_ROWS:
            given = {"document": OLD_FAILURE, "subject": OLD_SUBJECT}
            await connection.execute(text(row), {name: given[name] for name in given if f":{name}" in row})
    await database.close()
    store = await open_store(blank_url, clock=lambda: hands.now, exclusive=True)

    subject = failure_subject("emea", Pair("V2AB0001", 3))
    [failure] = await store.poll.load_failures("emea", ())
    assert (failure.id, failure.closed_at, failure.pair) == ("f1", None, Pair("V2AB0001", 3))
    assert failure.error_text == 'incident: "audience":{ \u00e4'
    assert failure.notified == {"chat": ("old-0",), "audience": ("d9",)}
    assert failure.tickets == {"desk": (subject, "job:emea:0-1795420000")}
    assert FailureTracker("emea", [failure]).has_ticket(failure.pair, "desk", subject)
    assert await store.ledger.failures() == [failure]

    [claim] = await store.outbox.claim("desk", owner="me", limit=9, lease=9)
    assert (claim.delivery.id, claim.delivery.ordering_key) == ("old-0", subject)
    assert (claim.delivery.subject, claim.delivery.purpose) == (subject, Purpose.CLOSE)
    assert claim.posting is not None
    assert claim.acknowledged is not None
    assert (claim.posting.reference, claim.posting.open, claim.acknowledged.by) == ("R1", True, "anna")
    assert ticket_key(claim.delivery.subject, 100) == ticket_key(failure.tickets["desk"][0], 100) == OLD_KEY
    [other] = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    assert (other.delivery.id, other.delivery.purpose) == ("old-1", Purpose.NOTIFY)
    [ticket] = await store.ledger.tickets(TicketFilter(open_only=True))
    assert ticket.about == "V2AB0001 on emea"
    assert await store.ledger.close_failure("f1", now=hands.now)
    assert await store.ledger.failures() == []
    await store.close()


async def test_a_step_that_fails_changes_nothing(
    blank_url: str, hands: SimpleNamespace, write_old: WriteOld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade is one transaction: cut off at its end, the store is as before, and the next start works."""
    await write_old(EARLIER[-1])

    def cut_off(connection: Connection, place: str) -> None:
        bring_to(connection, "head")
        raise StoreError(place)

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_upgrade", cut_off)
        with pytest.raises(StoreError):
            await open_store(blank_url, clock=lambda: hands.now, exclusive=True)
    database = Database(blank_url, lambda: hands.now)
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == EARLIER[-1]
        assert "controller" not in await connection.run_sync(columns_of, "deliveries")
    await database.close()
    store = await open_store(blank_url, clock=lambda: hands.now, exclusive=True)
    assert await listed(store, "apac") == ["old-1"]
    await store.close()


@pytest.mark.parametrize("revision", ["nothing", *EARLIER])
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_replicas_that_start_together(
    blank_url: str, hands: SimpleNamespace, write_old: WriteOld, revision: str
) -> None:
    """Replicas that open an empty or old PostgreSQL store at the same moment upgrade it once, and go on."""
    if revision != "nothing":
        await write_old(revision)
    stores = await asyncio.gather(
        *(open_store(blank_url, clock=lambda: hands.now, exclusive=True) for _ in range(4))
    )
    for store in stores:
        await store.ledger.ping()
        await store.close()
