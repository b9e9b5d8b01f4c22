"""A whole night against every controller that the vendor's page allows: nothing lost, nothing twice."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.simulator import OPEN, Quirks, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import bridge
from support.oracle.expected_events import compare, expected

SPEED = 60
RERUN = b'"type":"job.reopened"'
FILTERS: dict[str, list[dict[str, Any]]] = {
    "creation or push": [
        {"after_field": field, "inclusive": inclusive}
        for field, inclusive in product(("creation", "push"), (True, False))
    ],
    "completion or timestamp": [
        {"after_field": field, "inclusive": inclusive}
        for field, inclusive in product(("completion", "timestamp"), (True, False))
    ],
    "ignored": [{"filters_ignored": True}],
}


def controllers(filters: list[dict[str, Any]]) -> list[Quirks]:
    """Each of these filters with both spellings, absent or null values, details in time or late."""
    return [
        Quirks(
            **chosen,
            spelling=spelling,
            # A filter may also know one spelling only.
            strict_filter_spelling=missing == "null",
            missing=missing,
            rows_delay=rows_delay,
        )
        for chosen, spelling, missing, rows_delay in product(
            filters, ("camel", "upper"), ("absent", "null"), (0.0, 45.0)
        )
    ]


def config(sims: dict[str, Simulator], receiver: Receiver) -> dict[str, Any]:
    """Every controller, one webhook that gets everything."""
    poll = {"interval": "2s", "idle_interval": "2s", "settle": "3s", "full_sync": "15s"}
    return {
        "controllers": {
            name: {"url": sim.url, "first_run": "all", "poll": poll, "overdue": {}}
            for name, sim in sims.items()
        },
        "sinks": {"hook": {"type": "webhook", "url": receiver.url, "concurrency": 16}},
        "routes": [{"sinks": ["hook"]}],
    }


def documents(receiver: Receiver, controller: str) -> list[dict[str, Any]]:
    """What was told of one controller, in the order of arrival."""
    return [request.document for request in receiver.requests if request.document["controller"] == controller]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("filters", FILTERS)
async def test_every_reading_of_the_vendors_page(filters: str, tmp_path: Path) -> None:
    """Each controller's transitions, failed pairs and recoveries are told exactly once, also those of the
    time when the bridge was down; a run over the same store afterwards tells nothing.
    """
    async with Receiver() as receiver, AsyncExitStack() as stack:
        sims: dict[str, Simulator] = {}
        for number, quirks in enumerate(controllers(FILTERS[filters])):
            sim = Simulator("night-push", seed=number, speed=SPEED, quirks=quirks, auth=OPEN, appliances=12)
            sims[f"cmc{number}"] = await stack.enter_async_context(sim)
        setting = config(sims, receiver)
        async with bridge(tmp_path, setting) as process:
            await receiver.wait(lambda r: len(r.requests) > 12 * len(sims), timeout=60)
            # Down any earlier, it could miss the end between the two runs, which is over in seconds.
            await receiver.wait(lambda r: any(RERUN in request.body for request in r.requests), timeout=60)
            assert await process.stop() == 0
            last = {name: len(sim.requests) for name, sim in sims.items()}
        await asyncio.sleep(4 * 60 / SPEED)  # four minutes of the night that nobody watches
        async with bridge(tmp_path, setting) as process:
            await asyncio.gather(*(sim.wait_finished() for sim in sims.values()))
            await process.polls_of_each(sims, 6, within=120)
            await process.drained(within=60)
            assert await process.stop() == 0
        before = len(receiver.requests)
        async with bridge(tmp_path, setting) as process:
            await process.polls(2 * len(sims), within=60)
            assert await process.stop() == 0
        assert len(receiver.requests) == before

        assert len({request.id for request in receiver.requests}) == len(receiver.requests)
        wrong = {
            name: difference
            for name, sim in sims.items()
            if (difference := differences(sim, documents(receiver, name), last[name]))
        }
        assert wrong == {}
        assert_a_night(documents(receiver, name) for name in sims)


def differences(sim: Simulator, told: list[dict[str, Any]], last: int) -> list[str]:
    """Against the simulator's own record; the poll that SIGTERM cut off, if any, may not have counted."""
    cut_off = range(max(1, last - 8), last + 1)
    return compare(expected(sim, first_run="all", settle=None, doubtful=cut_off), told)


def assert_a_night(told: Iterable[list[dict[str, Any]]]) -> None:
    """Guards the test itself: the nights hold what they are supposed to hold.

    Whether an end between two runs was seen depends on when a poll came, so one controller is enough there.
    """
    nights = [{document["type"] for document in documents} for documents in told]
    assert all(types >= {"job.failed", "job.succeeded", "job.canceled"} for types in nights)
    assert set().union(*nights) >= {"job.reopened", "job.queued", "job.started", "appliance.recovered"}
