"""The store as the poller sees it, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from cmc_notify.core.events import EventType
from cmc_notify.core.model import JobState, Outcome, Pair, Row, TrackedFailure
from cmc_notify.errors import StaleSnapshot, StoreError
from cmc_notify.ports import ControllerMeta, PollCommit, SavedJob
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
MakeFailure = Callable[..., TrackedFailure]
OpenAnother = Callable[..., Awaitable[Store]]


async def test_unknown_controller(store: Store) -> None:
    """A controller never seen has version 0 and nothing else."""
    snapshot = await store.poll.load_snapshot("emea")
    assert (snapshot.version, snapshot.meta, snapshot.known) == (0, ControllerMeta(), ())


async def test_commit_comes_back(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """Jobs, their states and the controller's meta come back exactly as committed."""
    state = make_state(
        7,
        of_state={
            "announced": frozenset({Pair("V2AB0001", 3), Pair(None, None), Pair("é\u2400\U0001f600", None)}),
            "settle_until": 1.5,
            "watch_until": 2.25,
        },
        completion_time=2**63 - 1,
        error_text='"\\ \u202e {{ }}',
    )
    meta = ControllerMeta(first_run_done=True, filters="ignored", malformed=("job 9: no status",))
    commit = make_commit(0, state, make_state(8, "Queued"), meta=meta)
    assert await store.poll.commit_poll(commit) == 1
    snapshot = await store.poll.load_snapshot("emea")
    assert (snapshot.version, snapshot.meta) == (1, meta)
    first, second = snapshot.known
    assert (first.uid, first.id, first.digest, first.open, first.watch_until) == (
        state.uid,
        7,
        bytes(16),
        True,
        2.25,
    )
    assert first.discovered < second.discovered
    assert await store.poll.load_states("emea", [state.uid, "unknown"]) == {state.uid: state}


async def test_known_job_keeps_its_discovery(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """A job that changes is written over and keeps its place; a new one comes after all others."""
    await store.poll.commit_poll(make_commit(0, make_state(1), make_state(2)))
    changed = make_state(1, "Success", of_state={"revision": 2})
    await store.poll.commit_poll(make_commit(1, make_state(3), changed))
    known = (await store.poll.load_snapshot("emea")).known
    assert [(job.id, job.open) for job in known] == [(1, False), (2, False), (3, False)]
    assert await store.poll.load_states("emea", [changed.uid]) == {changed.uid: changed}


async def test_stale_commit_writes_nothing(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Whoever read an older snapshot is refused whole: no job, event or delivery of theirs stays."""
    await store.poll.commit_poll(make_commit(0, make_state(1)))
    for expected in (0, 5):
        with pytest.raises(StaleSnapshot, match="emea"):
            await store.poll.commit_poll(make_commit(expected, make_state(2), deliveries=({},)))
    assert [job.id for job in (await store.poll.load_snapshot("emea")).known] == [1]
    assert len(await store.ledger.events()) == 1
    assert await store.outbox.next_due("chat") is None


async def test_one_of_two_pollers_wins(
    store: Store, open_another: OpenAnother, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Of several commits that follow one version at the same time, exactly one is written."""
    other = await open_another()
    for version in range(3):
        commits = [make_commit(version, make_state(10 * version + place)) for place in range(4)]
        outcomes = await asyncio.gather(
            *(
                target.poll.commit_poll(commit)
                for target, commit in zip((store, other, store, other), commits, strict=True)
            ),
            return_exceptions=True,
        )
        assert [outcome for outcome in outcomes if not isinstance(outcome, StaleSnapshot)] == [version + 1]
    assert len(await store.ledger.events()) == 3


async def test_nothing_is_told_twice(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """One (job, revision, type) has one event, whoever commits it again; another revision is another."""
    await store.poll.commit_poll(make_commit(0, make_state(1)))
    with pytest.raises(StaleSnapshot, match="already announced"):
        await store.poll.commit_poll(make_commit(1, make_state(1), make_state(2)))
    assert [job.id for job in (await store.poll.load_snapshot("emea")).known] == [1]
    await store.poll.commit_poll(make_commit(1, make_state(1, of_state={"revision": 2})))
    await store.poll.commit_poll(make_commit(2, make_state(1), event_type=EventType.APPLIANCE_FAILED))
    await store.poll.commit_poll(make_commit(0, make_state(1), controller="apac"))
    assert len(await store.ledger.events()) == 4


async def test_controller_events_never_collide(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Events without a job have no revision and may come again and again."""
    for version in range(2):
        commit = make_commit(version, make_state(version), event_type=EventType.CONTROLLER_UNREACHABLE)
        event = msgspec.structs.replace(commit.events[0], job=None)
        bare = msgspec.structs.replace(commit, jobs=(), events=(event,), event_uids={})
        await store.poll.commit_poll(bare)
    assert [event.job for event in await store.ledger.events()] == [None, None]


async def test_half_a_commit_is_none(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """A commit that fails at its deliveries leaves no job, event, meta or version behind."""
    twice = ({"id": "same", "subject": "a"}, {"id": "same", "subject": "b"})
    with pytest.raises(StoreError):
        await store.poll.commit_poll(make_commit(0, make_state(1), deliveries=twice))
    assert (await store.poll.load_snapshot("emea")).version == 0
    assert await store.ledger.events() == []
    assert await store.ledger.snapshots() == {}


async def test_states_after(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """Pushed jobs that spoke later come in that order; equal times go by id, what never ran is left out."""
    states = (
        make_state(4, completion_time=300),
        make_state(3, completion_time=200),
        make_state(2, completion_time=200),
        make_state(1, completion_time=100),
        make_state(5, "Queued", creation_time=900, push_time=None, rows=()),
        make_state(6, "Success", creation_time=50, push_time=None, completion_time=400, rows=()),
    )
    await store.poll.commit_poll(make_commit(0, *states))
    found = await store.poll.states_after("emea", (200, 2))
    assert [state.job.id for state in found] == [3, 4, 6]
    assert await store.poll.states_after("apac", (0, 0)) == []


async def test_failures(
    store: Store, make_commit: MakeCommit, make_failure: MakeFailure, hands: SimpleNamespace
) -> None:
    """Loading gives every open failure, and of the asked pairs the newest closed one, also of null pairs."""
    nameless = {"serial": None, "feature_id": None}
    written = (
        make_failure("a", closed_at=hands.now + 1, closed_by="job 1"),
        make_failure("b", closed_at=hands.now + 2, closed_by="job 2"),
        make_failure("c", feature_id=4, closed_at=hands.now + 9, closed_by="job 2"),
        make_failure("d", **nameless, closed_at=hands.now, closed_by="operator"),
        make_failure("e", serial="V2AB0009"),
        make_failure("f", **nameless, opened_at=hands.now - 1),
    )
    elsewhere = make_failure("g", controller="apac")
    await store.poll.commit_poll(make_commit(0, failures=written))
    await store.poll.commit_poll(make_commit(0, controller="apac", failures=(elsewhere,)))
    pairs = {Pair("V2AB0001", 3), Pair(None, None), Pair("never", 1)}
    found = await store.poll.load_failures("emea", pairs)
    assert found[:2] == [written[5], written[4]]
    assert {failure.id: failure for failure in found[2:]} == {"b": written[1], "d": written[3]}
    assert [failure.id for failure in await store.poll.load_failures("apac", ())] == ["g"]


async def test_failure_is_overwritten(
    store: Store, make_commit: MakeCommit, make_failure: MakeFailure
) -> None:
    """An failure that changes or closes replaces what was known of it."""
    await store.poll.commit_poll(make_commit(0, failures=(make_failure("a"),)))
    closed = make_failure("a", error_text="still no route", closed_at=5.0, closed_by="job 2")
    await store.poll.commit_poll(make_commit(1, failures=(closed,)))
    assert await store.poll.load_failures("emea", [closed.pair]) == [closed]
    assert await store.ledger.failures() == []


async def test_a_serial_number_without_end_stops_no_poll(
    store: Store, make_commit: MakeCommit, make_failure: MakeFailure
) -> None:
    """An index holds less than a controller may send; two that begin alike are two."""
    text = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(5000))
    one, two = make_failure("a", serial=text), make_failure("b", serial=f"{text}!", closed_at=1.0)
    await store.poll.commit_poll(make_commit(0, failures=(one, two)))
    assert await store.poll.load_failures("emea", [one.pair, two.pair]) == [one, two]


async def test_tickets_of_single_failures_cost_a_commit_no_reads(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Thousands at once are written as few are: PostgreSQL took a minute to look for progress behind each."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    counts = []
    listen(Engine, "before_cursor_execute", note)
    try:
        for version, number in enumerate((1, 2000)):
            keys = [f"failure:emea:V{serial}:3" for serial in range(number)]
            new = tuple({"subject": key, "ordering_key": key} for key in keys)
            state = make_state(1, of_state={"revision": version + 1})
            asked.clear()
            await store.poll.commit_poll(make_commit(version, state, deliveries=new))
            counts.append(len(asked))
    finally:
        remove(Engine, "before_cursor_execute", note)
    few, many = counts
    assert many <= few


async def test_many_pairs_and_uids(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """Thousands of names in one question are no problem for either database."""
    state = make_state(1)
    await store.poll.commit_poll(make_commit(0, state))
    uids = [f"{number}-x" for number in range(40_000)] + [state.uid]
    assert await store.poll.load_states("emea", uids) == {state.uid: state}
    pairs = {Pair(f"V{number}", 1) for number in range(40_000)}
    assert await store.poll.load_failures("emea", pairs) == []


async def test_first_poll_of_a_long_history(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Thousands of jobs are committed and listed in one transaction."""
    rows = tuple(Row(f"V2AB{number:04}", 3, Outcome.SUCCEEDED) for number in range(10))
    saved = tuple(SavedJob(make_state(number, "Success", rows=rows), bytes(16)) for number in range(2000))
    listed = frozenset(one.state.uid for one in saved)
    await store.poll.commit_poll(make_commit(0, jobs=saved, listed=listed))
    known = (await store.poll.load_snapshot("emea")).known
    assert [job.id for job in known] == list(range(2000))
