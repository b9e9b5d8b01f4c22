"""Routes below one that takes everything: news of its own sink passes it by."""

import pytest

from cmc_notify.settings.references import reference_problems
from cmc_notify.settings.routes import MatchSettings, RouteSettings


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        (["chat"], {"sinks": ["mail"]}, True),
        (["chat"], {"sinks": ["chat", "mail"]}, True),
        (["chat"], {"sinks": ["mail"], "event": ("sink.*",)}, True),
        (["chat"], {"sinks": ["chat"]}, False),
        (["chat", "mail"], {"sinks": ["mail"], "event": ("sink.*",)}, False),
        (["chat"], {"sinks": ["mail"], "event": ("job.*",)}, False),
        (["chat"], {"sinks": ["mail"], "controller": ("emea",)}, False),
        (["chat"], {"sinks": ["mail"], "serial": ("V2*",)}, False),
    ],
)
def test_a_route_for_the_events_of_a_sink_is_reached(
    first: list[str], second: dict[str, tuple[str, ...]], *, reached: bool
) -> None:
    """Only what could match such news, and names another sink, makes sense below a route to one sink."""
    match = {key: value for key, value in second.items() if key != "sinks"}
    routes = {
        0: RouteSettings.model_validate({"sinks": first}),
        1: RouteSettings.model_validate({"sinks": second["sinks"], "match": MatchSettings(**match)}),
    }
    problems = list(reference_problems(["emea"], {"chat": None, "mail": None}, routes))
    assert (problems == []) is reached
