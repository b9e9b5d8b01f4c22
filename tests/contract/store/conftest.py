"""Stores to test: a SQLite file and a real PostgreSQL, fresh for each test, under a clock set by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import make_url

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import SEVERITY, Event, EventType, event_id, job_info, rfc3339
from cmc_notify.core.model import Job, JobState, Names, Outcome, Row, TrackedFailure
from cmc_notify.ports import ControllerMeta, PollCommit, SavedJob
from cmc_notify.store import Store, open_store
from support.postgres import PostgresServer
from support.store_deliveries import Happen

START = 1_795_425_600.0

OpenAnother = Callable[..., Awaitable[Store]]
MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
MakeFailure = Callable[..., TrackedFailure]
CommitEvent = Callable[..., Awaitable[list[str]]]


def migrated(url: str) -> str:
    """Bring an empty database to the newest schema, once for all tests that only need a store."""

    async def open_and_close() -> None:
        await (await open_store(url, clock=lambda: START, exclusive=True)).close()

    # In a thread: this one may be about to run the loop of a test.
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, open_and_close()).result()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: PostgresServer) -> str:
    """The name of a PostgreSQL database with an empty store in it, to be copied."""
    with ThreadPoolExecutor(1) as elsewhere:
        url = elsewhere.submit(asyncio.run, postgresql_server.new_database()).result()
    return str(make_url(migrated(url)).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each test that uses a store runs on both."""
    return str(request.param)


@pytest.fixture
async def blank_url(request: pytest.FixtureRequest, dialect: str, tmp_path: Path) -> str:
    """The URL of a store that nobody has ever opened."""
    if dialect == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    return await server.new_database()


@pytest.fixture
async def store_url(request: pytest.FixtureRequest, dialect: str, tmp_path: Path) -> str:
    """The URL of a new store that was opened once, so that its schema is there."""
    if dialect == "sqlite":
        path = tmp_path / "store.db"
        path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    return await server.new_database(request.getfixturevalue("postgresql_template"))


@pytest.fixture
def hands() -> SimpleNamespace:
    """The store's clock: ``hands.now`` is what it shows. PostgreSQL's leases run by the server's own."""
    return SimpleNamespace(now=START)


@pytest.fixture
async def open_another(store_url: str, hands: SimpleNamespace) -> AsyncIterator[OpenAnother]:
    """Opens the same database once more, with ``exclusive=…``; closed at the end."""
    async with AsyncExitStack() as opened:

        async def open_it(*, exclusive: bool = False) -> Store:
            store = await open_store(store_url, clock=lambda: hands.now, exclusive=exclusive)
            opened.push_async_callback(store.close)
            return store

        yield open_it


@pytest.fixture
async def store(open_another: OpenAnother) -> Store:
    """A new store, opened as the bridge does."""
    return await open_another(exclusive=True)


@pytest.fixture
def make_state() -> MakeState:
    """``make_state(id, status="Failed", **of_the_job)``: a job with one failed and one good row."""

    def make(
        job_id: int, status: str = "Failed", *, of_state: dict[str, Any] | None = None, **of_job: Any
    ) -> JobState:
        rows = (Row("V2AB0001", 3, Outcome.FAILED), Row("V2AB0002", 3, Outcome.SUCCEEDED))
        created = 1_795_420_000 + job_id
        job = Job(id=job_id, status=status, rows=rows, creation_time=created, push_time=created + 5)
        job = msgspec.structs.replace(job, **of_job)
        return JobState(uid=f"{job_id}-{created}", job=job, **of_state or {})

    return make


@pytest.fixture
def make_commit(hands: SimpleNamespace) -> MakeCommit:
    """``make_commit(version, states, deliveries=[(sink, key, …)])``.

    Each state gives one event; each of ``deliveries`` is a dict of NewDelivery fields, about the last event.
    """
    numbers = count()

    def make(
        version: int = 0,
        *states: JobState,
        deliveries: tuple[dict[str, Any], ...] = (),
        event_type: EventType = EventType.JOB_FAILED,
        **fields: Any,
    ) -> PollCommit:
        controller = fields.pop("controller", "emea")
        events = []
        uids = {}
        for state in states:
            identity = (controller, state.uid, state.revision, event_type)
            event = Event(
                id=event_id(hands.now, next(numbers), *identity),
                type=event_type,
                time=rfc3339(hands.now) or "",
                severity=SEVERITY[event_type],
                controller=controller,
                job=job_info(state.job, Names(), previous_status=None),
            )
            events.append(event)
            uids[event.id] = (state.uid, state.revision)
        new = tuple(
            _delivery(events[-1].id, hands.now, f"d{next(numbers):04}", given) for given in deliveries
        )
        return PollCommit(
            **{
                "controller": controller,
                "expected_version": version,
                "meta": ControllerMeta(first_run_done=True, last_poll_at=hands.now),
                "jobs": tuple(SavedJob(state, bytes(16)) for state in states),
                "events": tuple(events),
                "deliveries": new,
                "event_uids": uids,
            }
            | fields
        )

    return make


def _delivery(event: str, now: float, name: str, given: dict[str, Any]) -> NewDelivery:
    plain = NewDelivery(
        id=name,
        event_id=event,
        sink="chat",
        subject=name,
        ordering_key=name,
        due_at=now,
        deadline_at=now + 3600,
    )
    return msgspec.structs.replace(plain, **given)


@pytest.fixture
def commit_event(store: Store, make_state: MakeState, make_commit: MakeCommit) -> CommitEvent:
    """Commits one event of a new job with the deliveries given as dicts, and returns their ids."""
    jobs = count(1000)

    async def commit(
        *deliveries: dict[str, Any], job_id: int | None = None, controller: str = "emea"
    ) -> list[str]:
        version = (await store.poll.load_snapshot(controller)).version
        state = make_state(job_id or next(jobs))
        new = make_commit(version, state, deliveries=deliveries, controller=controller)
        await store.poll.commit_poll(new)
        return [delivery.id for delivery in new.deliveries]

    return commit


@pytest.fixture
def make_failure(hands: SimpleNamespace) -> MakeFailure:
    """``make_failure(id, **fields)``: an open failure of V2AB0001 and feature 3."""

    def make(failure_id: str, **fields: Any) -> TrackedFailure:
        return TrackedFailure(
            **{
                "id": failure_id,
                "controller": "emea",
                "serial": "V2AB0001",
                "feature_id": 3,
                "feature": "QoS",
                "appliance": None,
                "error_text": "no route",
                "opened_at": hands.now,
                "opened_event": "e1",
                "job_uid": "1-1",
                "job_id": 1,
                "last_job_uid": "1-1",
                "failed_order": (100, 1),
                "notified": {"chat": ("d1",)},
            }
            | fields
        )

    return make


@pytest.fixture
def happen(store: Store, make_state: MakeState, make_commit: MakeCommit) -> Happen:
    """``happen(kind, sink=…, key=…)``: one event in a commit of its own; returns its delivery's id."""
    numbers = count(1)

    async def commit(kind: EventType, *sinks: str, key: str = "job-1") -> str:
        version = (await store.poll.load_snapshot("emea")).version
        new = make_commit(
            version,
            make_state(next(numbers)),
            event_type=kind,
            deliveries=tuple({"sink": sink, "ordering_key": key} for sink in sinks or ("chat",)),
        )
        await store.poll.commit_poll(new)
        return new.deliveries[0].id

    return commit
