"""A plain client of the simulated controller."""

import json
from typing import Any

import aiohttp

from cmc_notify.simulator import OPEN, Simulator

JOBS = "/api/cmc.configurator/1.0/jobs"
COMMON = "/api/common/1.0"


async def get(http: aiohttp.ClientSession, sim: Simulator, path: str, **options: Any) -> tuple[int, Any]:
    """Status and document of a GET."""
    async with http.get(f"{sim.url}{path}", **options) as response:
        return response.status, await response.json()


async def ids(http: aiohttp.ClientSession, sim: Simulator, query: str = "") -> list[int]:
    """The ids that a job list shows."""
    async with http.get(f"{sim.url}{JOBS}{query}") as response:
        body = await response.read()
        assert response.status == 200
    return [job["id"] for job in json.loads(body)]


def manual(scenario: str = "empty", **options: Any) -> Simulator:
    """A simulator whose clock stands still, by default without sign-in."""
    return Simulator(scenario, speed=0, **{"auth": OPEN, **options})
