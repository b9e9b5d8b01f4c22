"""A real bridge and every ticket preset: tickets open, change and close as the controller's jobs tell."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

from cmc_notify.simulator import OPEN, Row, SimulatedJob, Simulator
from cmc_notify.simulator.tickets import ServiceFault
from support.bridge_process import BridgeProcess, bridge
from support.ticket_services import PLACES, TicketPlace

PER_JOB = ("jira", "servicenow", "pagerduty")
PER_FAILURE = ("servicenow-incident", "opsgenie", "alertmanager")
FAIL = ("Completed", "Fail", "rule 12 is unknown")
GOOD = ("Completed", "Success", None)


def config(sim_url: str, places: Mapping[str, TicketPlace]) -> dict[str, Any]:
    """Half of the services get a ticket for each job, the others one for each appliance and feature."""
    retry = {"initial": "100ms", "max": "300ms"}
    sinks = {
        name.replace("-", "_"): {
            "type": "webhook", "preset": name, "retry": retry, "timeout": "3s", **place.given()
        }
        for name, place in places.items()
    }  # fmt: skip
    incidents = [name.replace("-", "_") for name in PER_FAILURE]
    poll = {"interval": "100ms", "idle_interval": "100ms", "settle": "500ms"}
    return {
        "controllers": {"emea": {"url": sim_url, "first_run": "all", "poll": poll}},
        "sinks": sinks,
        "routes": [
            {"sinks": list(PER_JOB), "continue": True},
            {"sinks": incidents, "per": "failure", "max_per_job": 3},
        ],
    }


def pushed(sim: Simulator, rows: Mapping[str, tuple[str, str, str | None]], **fields: Any) -> SimulatedJob:
    """A push of one feature that ended so."""
    job = sim.jobs.add(feature_ids=[3], rows=[Row(serial, 3, *end) for serial, end in rows.items()], **fields)
    with job.change():
        job.start()
        job.finish("Failed" if FAIL in rows.values() else "Success")
    return job


class Desks:
    """What stands at the services, and how to wait for it."""

    def __init__(self, places: Mapping[str, TicketPlace]) -> None:
        self.places = places

    async def show(self, names: tuple[str, ...], *, open_: int, ever: int) -> None:
        """Wait until each of these services has so many open tickets, of so many that were ever made."""
        for name in names:
            desk = self.places[name].desk
            try:
                await desk.wait(
                    lambda d: len(d.open_tickets()) == open_ and len(d.tickets) == ever, seconds=30
                )
            except TimeoutError:
                stands = [(ticket.key, ticket.open, ticket.done) for ticket in desk.tickets]
                raise AssertionError(f"{name}: {stands}; wanted {open_} open of {ever}") from None


@asynccontextmanager
async def services() -> AsyncIterator[Desks]:
    """Every preset's service."""
    places = {name: make() for name, make in PLACES.items()}
    async with AsyncExitStack() as stack:
        for place in places.values():
            await stack.enter_async_context(place.desk)
        yield Desks(places)


async def settled(process: BridgeProcess) -> None:
    """Wait until the bridge has seen everything and sent everything."""
    await process.polls(2)
    await process.drained()


async def test_tickets_of_a_night(tmp_path: Path) -> None:
    """Failures open, repairs by later pushes close the right ones, over a restart; a rerun opens again, a
    push that never began is closed by its like, and more failures than a route allows share one ticket.
    """
    async with services() as desks, Simulator("empty", auth=OPEN) as sim:
        sim.catalog.grow(8)
        assert sim.url
        setting = config(sim.url, desks.places)
        for name in PLACES:  # the answer to the first ticket is lost everywhere
            desks.places[name].desk.fail_next(desks.places[name].create, ServiceFault("drop", done=True))
        async with bridge(tmp_path, setting) as process:
            first = pushed(sim, {"V1": FAIL, "V2": FAIL, "V3": GOOD})
            await desks.show(PER_JOB, open_=1, ever=1)
            await desks.show(PER_FAILURE, open_=2, ever=2)
            await settled(process)
            assert await process.stop() == 0

        async with bridge(tmp_path, setting) as process:
            pushed(sim, {"V1": GOOD})  # one of two is repaired: the job's ticket stays
            await desks.show(PER_FAILURE, open_=1, ever=2)
            await settled(process)
            await desks.show(PER_JOB, open_=1, ever=1)
            pushed(sim, {"V2": GOOD})
            await desks.show(PER_FAILURE, open_=0, ever=2)
            await desks.show(PER_JOB, open_=0, ever=1)

            first.rerun()
            with first.change():
                for serial, end in {"V1": FAIL, "V2": GOOD, "V3": GOOD}.items():
                    first.set_row(serial, 3, end[1], end[2])
                first.finish("Failed")
            await settled(process)
            for name in PLACES:
                assert len(desks.places[name].desk.open_tickets()) == 1, name
            pushed(sim, {"V1": GOOD})
            await settled(process)
            for name in PLACES:
                assert desks.places[name].desk.open_tickets() == [], name

            before = {name: len(desks.places[name].desk.tickets) for name in PLACES}
            never = sim.jobs.add(feature_ids=[5], site_ids=[1])
            never.start()
            never.finish("Failed", error_text="the configuration is locked")
            await settled(process)
            for name in PLACES:
                [ticket] = desks.places[name].desk.open_tickets()
                assert "the configuration is locked" in ticket.history[0][1]
            like = sim.jobs.add(feature_ids=[5], site_ids=[1], rows=[Row("V4", 5, *GOOD)])
            with like.change():
                like.start()
                like.finish("Success")
            for name in PLACES:
                await desks.show((name,), open_=0, ever=before[name] + 1)

            many = [f"V{n}" for n in range(1, 6)]
            pushed(sim, dict.fromkeys(many, FAIL))  # five, where three are allowed
            for name in PLACES:
                await desks.show((name,), open_=1, ever=before[name] + 2)
            pushed(sim, dict.fromkeys(many, GOOD))
            for name in PLACES:
                await desks.show((name,), open_=0, ever=before[name] + 2)
            await settled(process)
            assert await process.stop() == 0
        with closing(sqlite3.connect(tmp_path / "store.db")) as store:
            states = dict(store.execute("SELECT state, count(*) FROM deliveries GROUP BY state"))
        assert states.keys() <= {"sent", "unrouted"}, states

        told: dict[str, str] = {}
        for _, event in desks.places["pagerduty"].desk.calls:
            told.setdefault(event["dedup_key"], event["event_action"])
        assert set(told.values()) == {"trigger"}  # no resolve overtakes its trigger
        assert "update" in desks.places["jira"].desk.tickets[0].done  # one of two was repaired
        for name, place in desks.places.items():
            assert place.desk.refusals == [], name
            for ticket in place.desk.tickets:
                assert ticket.done[0] == "open", (name, ticket.done)
                assert ticket.done[-1] == "resolve", (name, ticket.done)
