"""The simulated controller keeps the vendor's page: resources, filters, sign-in, errors."""

from typing import Any

import aiohttp
import pytest

from cmc_notify.simulator import Quirks, Row
from support.simulator_client import COMMON, JOBS, get, ids, manual


async def test_status_filter_takes_either_spelling(http: aiohttp.ClientSession) -> None:
    """The status filter matches both spellings in any case, unless the controller is strict."""
    async with manual() as sim:
        sim.jobs.add().start()
        sim.jobs.add()
        assert await ids(http, sim) == [4101, 4102]
        for spelling in ("InProgress", "IN_PROGRESS", "inprogress"):
            assert await ids(http, sim, f"?job_status={spelling}") == [4101]
        assert await ids(http, sim, "?job_status=Queued&feature_id=2") == []
    async with manual(quirks=Quirks(spelling="upper", strict_filter_spelling=True)) as sim:
        sim.jobs.add().start()
        assert await ids(http, sim, "?job_status=InProgress") == []
        assert await ids(http, sim, "?job_status=IN_PROGRESS") == [4101]


@pytest.mark.parametrize("field", ["creation", "push", "completion", "timestamp"])
@pytest.mark.parametrize("inclusive", [True, False])
async def test_after_and_before_compare_the_chosen_time(
    http: aiohttp.ClientSession, field: Any, inclusive: bool
) -> None:
    """Bounds compare with the chosen time; a job that lacks it is in no bounded list."""
    async with manual(quirks=Quirks(after_field=field, inclusive=inclusive)) as sim:
        name = field if field == "timestamp" else f"{field}_time"
        for number, time in enumerate((100, 200, 300), 1):
            job = sim.jobs.add(job_id=number, creation_time=7, timestamp=7)
            job.set(status="Success", **{name: time})
        sim.jobs.add(job_id=9, timestamp=None, creation_time=None)
        at = [2] if inclusive else []
        assert await ids(http, sim, "?after=200") == [*at, 3]
        assert await ids(http, sim, "?before=200") == [1, *at]
        assert await ids(http, sim, "?after=150&before=250") == [2]
        assert len(await ids(http, sim)) == 4


async def test_ignored_filters_give_the_full_list(http: aiohttp.ClientSession) -> None:
    """A controller that ignores filters shows everything, whatever is asked."""
    async with manual(quirks=Quirks(filters_ignored=True)) as sim:
        sim.jobs.add()
        assert await ids(http, sim, "?job_status=Failed&after=9999999999&feature_id=5") == [4101]


async def test_a_malformed_filter_is_refused(http: aiohttp.ClientSession) -> None:
    """A bound that is no integer gives an error document."""
    async with manual() as sim:
        status, document = await get(http, sim, f"{JOBS}?after=yesterday")
        assert (status, document["error_id"]) == (400, "REQUEST_INVALID_INPUT")


async def test_optional_values_are_absent_or_null(http: aiohttp.ClientSession) -> None:
    """Missing values are left out or null, and rows have no result before they are completed."""
    row = Row("V2AB00001", 3, "Running")
    async with manual() as sim:
        sim.jobs.add(rows=[row])
        _, (job,) = await get(http, sim, JOBS)
        assert "push_time" not in job
        assert job["detailed_status"] == [{"status": "Running", "feature_id": 3, "serialnum": "V2AB00001"}]
    async with manual(quirks=Quirks(missing="null", spelling="upper")) as sim:
        sim.jobs.add(rows=[row]).start()
        _, (job,) = await get(http, sim, JOBS)
        assert job["completion_time"] is None
        assert job["job_status"] == "IN_PROGRESS"
        assert job["detailed_status"][0]["result"] is None
        assert job["detailed_status"][0]["status"] == "RUNNING"


async def test_rows_lag_behind_the_status(http: aiohttp.ClientSession) -> None:
    """With a delay the status is final before the rows are, and each step is a version of its own."""
    async with manual(quirks=Quirks(rows_delay=30)) as sim:
        job = sim.jobs.add(rows=[Row("V2AB00001", 3)])
        with job.change():
            job.set_row("V2AB00001", 3, "Fail", "no route")
            job.finish("Failed")
        _, shown = await get(http, sim, f"{JOBS}/items/{job.id}")
        assert (shown["job_status"], shown["detailed_status"][0]["status"]) == ("Failed", "Pending")
        sim.advance(30)
        _, shown = await get(http, sim, f"{JOBS}/items/{job.id}")
        assert shown["detailed_status"][0]["error_text"] == "no route"
        assert [version.time - sim.clock.start for version in sim.history] == [0, 0, 30]


async def test_cancel_ends_an_open_job_once(http: aiohttp.ClientSession) -> None:
    """Cancel answers the canceled job, and refuses a finished one with an error document."""
    async with manual() as sim:
        job = sim.jobs.add()
        job.start()
        url = f"{sim.url}{JOBS}/items/{job.id}/cancel"
        async with http.post(url) as response:
            assert (response.status, (await response.json())["job_status"]) == (200, "Canceled")
        async with http.post(url) as response:
            assert (response.status, (await response.json())["error_id"]) == (409, "JOB_ALREADY_FINISHED")
        assert (await get(http, sim, f"{JOBS}/items/999"))[0] == 404


async def test_a_restored_controller_uses_ids_again(http: aiohttp.ClientSession) -> None:
    """A reused id is another job with a key of its own; by id the newer one is served."""
    async with manual() as sim:
        old = sim.jobs.add(job_id=5, creation_time=100)
        new = sim.jobs.add(job_id=5, creation_time=900)
        assert old.key != new.key
        assert (await get(http, sim, f"{JOBS}/items/5"))[1]["creation_time"] == 900
        new.purge()
        assert await ids(http, sim) == [5]
        assert {version.key for version in sim.history} == {old.key, new.key}


async def test_a_rerun_starts_again() -> None:
    """A rerun has a new push time, no completion time, and pending rows."""
    async with manual() as sim:
        job = sim.jobs.add()
        job.start()
        with job.change():
            job.set_row("V2AB00001", 1, "Fail", "x")
            job.finish("Failed")
        sim.advance(100)
        job.rerun()
        document = sim.history[-1].document
        assert document["push_time"] == int(sim.now)
        assert "completion_time" not in document
        assert document["detailed_status"][0]["status"] == "Pending"


async def test_features_and_inventory(http: aiohttp.ClientSession) -> None:
    """Features by list, name and id; appliances by list and filter, or refused."""
    async with manual("night-push", appliances=12) as sim:
        base = "/api/cmc.configurator/1.1/features"
        assert len((await get(http, sim, base))[1]) == 8
        assert [item["id"] for item in (await get(http, sim, f"{base}?name=qos"))[1]] == [3]
        assert (await get(http, sim, f"{base}/items/3"))[1]["pretty_name"] == "QoS"
        assert (await get(http, sim, f"{base}/items/77"))[0] == 404
        inventory = "/api/cmc.appliance_inventory/1.0/brief_appliances"
        assert len((await get(http, sim, inventory))[1]) == 12
        (one,) = (await get(http, sim, f"{inventory}?serial=V2AB00002"))[1]
        assert one["hostname"] == "amsterdam-edge-2"
    for kind in ("404", "403"):
        async with manual(quirks=Quirks(inventory=kind, services_404=True, auth_info_404=True)) as sim:
            assert (await get(http, sim, inventory))[0] == int(kind)
            assert (await get(http, sim, f"{COMMON}/services"))[0] == 404
            assert (await get(http, sim, f"{COMMON}/auth_info"))[0] == 404
