"""The heartbeat's calls, with a real HTTP server: after each complete good cycle, and never else."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from pydantic import SecretStr

from cmc_notify.errors import StoreUnavailable
from cmc_notify.heartbeat import Heartbeat
from cmc_notify.ports import ControllerMeta, Ledger
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.telemetry import Metrics


class Polls:
    """A store with only the time of each controller's last good poll."""

    def __init__(self, *names: str) -> None:
        self.at: dict[str, float | None] = dict.fromkeys(names)
        self.broken = False
        self.asked = 0
        self.changed = asyncio.Condition()

    async def snapshots(self) -> dict[str, ControllerMeta]:
        """Every controller."""
        async with self.changed:
            self.asked += 1
            self.changed.notify_all()
        if self.broken:
            raise StoreUnavailable("away")
        return {name: ControllerMeta(last_poll_at=at) for name, at in self.at.items()}

    async def wait(self, asked: int) -> None:
        """Wait until it was called so often."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.asked >= asked)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The service that waits for calls."""
    async with Receiver() as started:
        yield started


@pytest.fixture
async def harness(receiver: Receiver) -> AsyncIterator[SimpleNamespace]:
    """A heartbeat of two controllers whose store was read once."""
    polls, metrics = Polls("emea", "apac"), Metrics()
    polls.at["apac"] = 5.0  # of yesterday's process
    heartbeat = Heartbeat(
        SecretStr(f"{receiver.url}/ping/s3cr3t%2Fkey"),
        ["emea", "apac"],
        cast("Ledger", polls),
        metrics=metrics,
        timeout=0.3,
    )
    heartbeat.start()
    await polls.wait(1)

    async def good(name: str) -> None:
        asked = polls.asked
        polls.at[name] = (polls.at[name] or 0) + 1
        heartbeat.on_polled()
        await polls.wait(asked + 1)

    def count(result: str) -> float:
        return float(metrics.heartbeats_total.labels(result)._value.get())

    yield SimpleNamespace(polls=polls, heartbeat=heartbeat, good=good, count=count)
    await heartbeat.stop()


async def calls(receiver: Receiver, count: int) -> None:
    """Exactly so many calls came."""
    await receiver.wait(lambda r: len(r.requests) >= count)
    assert len(receiver.requests) == count


async def test_a_cycle_is_complete_when_every_controller_was_polled(
    harness: SimpleNamespace, receiver: Receiver
) -> None:
    """However often one is polled, the call waits for the other; polls before the start do not count."""
    for _ in range(3):
        await harness.good("emea")
    assert receiver.requests == []
    await harness.good("apac")
    await calls(receiver, 1)
    assert (receiver.requests[0].method, receiver.requests[0].path) == ("GET", "/ping/s3cr3t%2Fkey")
    assert receiver.requests[0].headers["user-agent"].startswith("cmc-notify/")
    await harness.good("apac")
    await harness.good("apac")
    assert len(receiver.requests) == 1
    await harness.good("emea")
    await calls(receiver, 2)


async def test_the_store_proves_each_poll(harness: SimpleNamespace, receiver: Receiver) -> None:
    """A poll by another replica counts; while the store fails, there is no call."""
    harness.polls.broken = True
    await harness.good("apac")
    await harness.good("emea")
    assert receiver.requests == []
    harness.polls.broken = False
    await harness.good("emea")  # apac's commit is another's: nobody here was told of it
    await calls(receiver, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ScriptedResponse(500), "status 500"),
        (ScriptedResponse(302, headers={"Location": "/elsewhere"}), "status 302"),
        (ScriptedResponse(action="hang"), "no complete response within 0.3 s"),
        (ScriptedResponse(action="reset"), "the connection was lost"),
    ],
)
async def test_a_call_that_fails(
    harness: SimpleNamespace, receiver: Receiver, answer: ScriptedResponse, reason: str
) -> None:
    """It is logged once until it works again, without the address; the next cycle calls again."""
    receiver.script.extend([answer] * 2)
    with structlog.testing.capture_logs() as logged:
        for number in (1, 2, 3, 4):
            await harness.good("emea")
            await harness.good("apac")
            async with asyncio.timeout(5):
                while harness.count("ok") + harness.count("failed") < number:  # noqa: ASYNC110  a metric tells nobody
                    await asyncio.sleep(0.005)
    assert [line["event"] for line in logged] == ["heartbeat.failed", "heartbeat.recovered"]
    assert reason in logged[0]["error"]
    assert "s3cr3t" not in str(logged)
    assert "s3cr3t" not in repr(vars(harness.heartbeat))
    assert (harness.count("failed"), harness.count("ok")) == (2, 2)


async def test_one_call_at_a_time(harness: SimpleNamespace, receiver: Receiver) -> None:
    """While a call hangs no other starts, and polls are noted without waiting."""
    receiver.script.append(ScriptedResponse(action="hang"))
    await harness.good("emea")
    await harness.good("apac")
    await calls(receiver, 1)
    for name in ("emea", "apac"):
        harness.polls.at[name] = 99.0
        harness.heartbeat.on_polled()
    assert len(receiver.requests) == 1
    await calls(receiver, 2)
    assert (harness.count("failed"), receiver.requests[1].status) == (1, 200)


async def test_nobody_there(harness: SimpleNamespace, receiver: Receiver) -> None:
    """A service that is down is one more failure, in plain words."""
    await receiver.stop()
    with structlog.testing.capture_logs() as logged:
        await harness.good("emea")
        await harness.good("apac")
        async with asyncio.timeout(5):
            while not logged:  # noqa: ASYNC110  the log tells nobody
                await asyncio.sleep(0.005)
    line: Any = logged[0]
    assert line["error"].endswith(": connection refused")


async def test_an_end_in_the_middle_of_a_call(harness: SimpleNamespace, receiver: Receiver) -> None:
    """A stop does not wait for a response that does not come."""
    receiver.script.append(ScriptedResponse(action="hang"))
    await harness.good("emea")
    await harness.good("apac")
    await calls(receiver, 1)
    async with asyncio.timeout(0.2):
        await harness.heartbeat.stop()
    assert harness.count("failed") == 0
