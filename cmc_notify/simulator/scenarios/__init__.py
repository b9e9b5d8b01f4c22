"""The scenarios by name. A scenario is a function that plans changes on a stage."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

from cmc_notify.errors import ConfigError
from cmc_notify.simulator.scenarios.flaky import flaky
from cmc_notify.simulator.scenarios.hostile import hostile
from cmc_notify.simulator.scenarios.large import large
from cmc_notify.simulator.scenarios.night_push import night_push
from cmc_notify.simulator.scenarios.steady import steady
from cmc_notify.simulator.stage import Stage

Scenario = Callable[..., None]
"""A function of the stage, with options by keyword."""


def empty(stage: Stage) -> None:
    """Plan nothing."""
    del stage


_SCENARIOS: dict[str, Scenario] = {
    "night-push": night_push,
    "steady": steady,
    "large": large,
    "hostile": hostile,
    "flaky": flaky,
    "empty": empty,
}


def scenario_names() -> tuple[str, ...]:
    """Return the names of all scenarios."""
    return tuple(_SCENARIOS)


def find_scenario(scenario: Scenario | str, options: Mapping[str, Any]) -> Callable[[Stage], None]:
    """Return the scenario, bound to its options. Raises ConfigError for an unknown name or option."""
    if isinstance(scenario, str):
        if scenario not in _SCENARIOS:
            near = get_close_matches(scenario, _SCENARIOS, 1)
            hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(_SCENARIOS)}"
            raise ConfigError(f"there is no scenario {scenario!r}; {hint}")
        function = _SCENARIOS[scenario]
    else:
        function = scenario
    taken = list(inspect.signature(function).parameters)[1:]
    if unknown := sorted(options.keys() - set(taken)):
        raise ConfigError(
            f"scenario {scenario!r} has no option {', '.join(unknown)}; it takes {', '.join(taken) or 'none'}"
        )
    return partial(function, **options)
