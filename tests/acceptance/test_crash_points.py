"""A bridge that dies by SIGKILL at each boundary of a poll and of a delivery, on either store.

Nothing is lost, and nothing comes twice but what a receiver had accepted and the store did not know of.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from cmc_notify.boundaries import Boundary
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import ScriptedResponse
from cmc_notify.store import open_store
from support.command_line import in_process
from support.crash import killable_bridge
from support.crash.ledger import Ledger, open_ledger
from support.crash.life import Lives, Nursery, nursery
from support.crash.receivers import READERS, Arrival, Receivers
from support.crash.story import LEAD, Story
from support.oracle.expected_events import compare, expected

MAY_REPEAT = {
    Boundary.DELIVERY_PART_ACCEPTED,
    Boundary.DELIVERY_ATTEMPTED,
    Boundary.DELIVERY_WRITTEN,
}
"""A receiver has accepted, and the store does not know it."""

StoreKind = Literal["sqlite", "postgresql"]


class Stage:
    """The controller, the receivers, the ledger, and the bridge between them."""

    def __init__(self, sim: Simulator, receivers: Receivers, ledger: Ledger, lives: Lives) -> None:
        self.sim = sim
        self.receivers = receivers
        self.ledger = ledger
        self.lives = lives

    async def tell(self, boundary: Boundary, *, turn: int = 0) -> None:
        """The whole story to a bridge that runs. Of the steps that pass the boundary it dies in every second,
        from the first (``turn`` 0) or the second (1).
        """
        told, passing = 0, turn
        for step in Story(self.sim, self.receivers).steps:
            told += step.tells
            passing += boundary in step.passes
            await self.lives.take(step, told, dies=boundary in step.passes and passing % 2 == 1)
        await self.lives.quiet()
        await self.lives.end()

    async def judge(self) -> None:
        """All was told, whole and in order; what was in flight at a death, and only that, came once again."""
        arrivals = self.receivers.arrivals
        states = await self.ledger.states()
        assert Counter(states.values()) == {"sent": len(states) - 1, "dead": 1}
        assert {one.key for one in arrivals} == {key for key, state in states.items() if state == "sent"}
        times = Counter((one.key, one.reader) for one in arrivals)
        assert times - Counter(set(times)) == self.lives.in_flight
        for reader in READERS:
            told = told_to(reader, arrivals)
            assert compare(expected(self.sim, first_run="all", settle=0), told) == []
            assert_in_order(told)
            assert_the_whole_story(told)


Begin = Callable[[Boundary | None], Awaitable[Stage]]


@pytest.fixture(scope="module")
def cradle() -> Iterator[Nursery]:
    """Where bridges come from."""
    with nursery() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> StoreKind:
    """Each store."""
    kind: StoreKind = request.param
    return kind


@pytest.fixture
async def begin(
    store_kind: StoreKind, cradle: Nursery, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Begin]:
    """Awaited with a boundary: a harness whose bridge can die there; with None: nowhere."""
    url = f"sqlite:///{tmp_path}/store.db"
    if store_kind == "postgresql":
        url = await request.getfixturevalue("postgresql_server").new_database()
    await (await open_store(url, clock=time.time, exclusive=True)).close()
    lives: list[Lives] = []
    async with Receivers() as receivers, Simulator(auth=OPEN, speed=0) as sim, open_ledger(url) as ledger:

        async def made(boundary: Boundary | None) -> Stage:
            bridge = Lives(
                cradle,
                folder=tmp_path,
                store=url,
                ledger=ledger,
                sim=sim,
                receivers=receivers,
                boundary=boundary,
            )
            lives.append(bridge)
            return Stage(sim, receivers, ledger, bridge)

        yield made
        for life in lives:
            life.close()


@pytest.mark.parametrize("boundary", [one for one in Boundary if one not in LEAD], ids=str)
async def test_a_death_at_this_boundary_loses_nothing(
    boundary: Boundary, store_kind: StoreKind, begin: Begin
) -> None:
    """In each step of the story that passes it the bridge dies there, over one store or over the other; what
    the controller showed is told all the same, and comes again only where an answer could be lost.
    """
    harness = await begin(boundary)
    harness.lives.begin()
    await harness.tell(boundary, turn=0 if store_kind == "sqlite" else 1)
    await harness.judge()
    assert harness.lives.deaths, "nobody reaches it"
    assert bool(harness.lives.in_flight) == (boundary in MAY_REPEAT)


@pytest.mark.parametrize("boundary", sorted(LEAD), ids=str)
@pytest.mark.parametrize("store_kind", ["postgresql"], indirect=True)
async def test_a_death_at_a_change_of_leads_loses_nothing(boundary: Boundary, begin: Begin) -> None:
    """Who dies once it leads a controller, or once it leads it no more, leaves everything to be told."""
    harness = await begin(boundary)
    harness.lives.arm(1)
    harness.lives.begin()
    if boundary is Boundary.LEADERSHIP_RELEASED:
        await harness.lives.quiet()
        harness.lives.terminate()
    await harness.lives.dies("the bridge's start or its end")
    harness.lives.begin()
    await harness.tell(boundary)
    await harness.judge()
    assert not harness.lives.in_flight


async def test_a_death_while_the_receiver_thinks_repeats_one_message(begin: Begin) -> None:
    """Killed between the request and its answer, the bridge sends that message once more, by the same key."""
    harness = await begin(None)
    hook = harness.receivers.hook
    hook.otherwise = ScriptedResponse(action="hang")
    harness.sim.jobs.add(status="Failed", error_text="no route to the interpreter")
    harness.lives.begin()
    await hook.wait(lambda r: len(r.requests) == 1)
    await harness.lives.kill()

    hook.otherwise = ScriptedResponse()
    harness.lives.begin()
    await harness.lives.until(1, where="the second life")
    await harness.lives.quiet()
    await harness.lives.end()
    [key] = await harness.ledger.states()
    assert [request.id for request in hook.requests] == [key, key]
    assert hook.requests[0].document == hook.requests[1].document


def test_no_setting_and_no_variable_makes_a_bridge_die(tmp_path: Path) -> None:
    """A program that was started as any other has no hook, and a config that asks for one is refused."""
    looks = "import killable_bridge; killable_bridge.preload(); print(killable_bridge.boundaries._hook)"
    ended = subprocess.run(
        [sys.executable, "-c", looks],
        env=os.environ
        | {f"CMC_NOTIFY_{name}": "poll.fetched" for name in ("BOUNDARY", "BOUNDARIES", "HOOK")},
        cwd=Path(killable_bridge.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "None\n"
    for key in ("boundary", "boundaries", "hook"):
        config = tmp_path / f"{key}.yaml"
        config.write_text(
            f"controllers: {{emea: {{url: 'http://127.0.0.1:9'}}}}\nsinks: {{screen: {{type: console}}}}\n"
            f"routes: [{{sinks: [screen]}}]\n{key}: poll.fetched\n"
        )
        refused = in_process("check", "--config", str(config))
        assert refused.code == 2
        assert f"{key}: unknown key" in refused.err


def told_to(reader: str, arrivals: list[Arrival]) -> list[dict[str, Any]]:
    """What one reader, who reads the webhook's messages too, was told first of all; no repeats."""
    first: dict[str, dict[str, Any]] = {}
    for arrival in arrivals:
        if arrival.reader in (None, reader):
            first.setdefault(arrival.key, arrival.document)
    return list(first.values())


def assert_in_order(told: list[dict[str, Any]]) -> None:
    """Of each job as it happened (an event's id sorts by that), and no recovery before its failure."""
    failed: set[tuple[str, int, int]] = set()
    newest: dict[int, str] = {}
    for document in told:
        if document["job"] is None:
            continue
        number = document["job"]["id"]
        assert newest.get(number, "") < document["id"], document["type"]
        newest[number] = document["id"]
        failed.update((one["serial"], one["feature_id"], number) for one in document["failures"])
        for one in document["recoveries"]:
            assert (one["serial"], one["feature_id"], one["failed_job_id"]) in failed


def assert_the_whole_story(told: list[dict[str, Any]]) -> None:
    """Guards the test itself, and counts what the oracle does not judge."""
    kinds = Counter(document["type"] for document in told)
    assert kinds == {
        "job.queued": 2,
        "job.started": 2,
        "job.failed": 4,
        "job.succeeded": 3,
        "job.canceled": 1,
        "job.reopened": 1,
        "appliance.failed": 1,
        "appliance.recovered": 2,
        "controller.unreachable": 1,
        "controller.recovered": 1,
        "sink.failing": 1,
        "sink.recovered": 1,
    }
