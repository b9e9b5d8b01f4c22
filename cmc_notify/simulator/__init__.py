"""A simulated controller that behaves as documented, for the demo and the tests.

It knows nothing about the bridge: tests compare the bridge with the history that it records.
"""

from cmc_notify.simulator.auth import OPEN, Auth
from cmc_notify.simulator.controller import Simulator
from cmc_notify.simulator.jobs import SimulatedJob, Version
from cmc_notify.simulator.quirks import Quirks
from cmc_notify.simulator.scenarios import Scenario, scenario_names
from cmc_notify.simulator.server import Request
from cmc_notify.simulator.stage import Stage
from cmc_notify.simulator.wire import ABSENT, Row

__all__ = [
    "ABSENT",
    "OPEN",
    "Auth",
    "Quirks",
    "Request",
    "Row",
    "Scenario",
    "SimulatedJob",
    "Simulator",
    "Stage",
    "Version",
    "scenario_names",
]
