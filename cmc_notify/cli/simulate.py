"""``simulate``: runs a controller that behaves as documented, to try the bridge and templates."""

import asyncio
import signal
from typing import Annotated, Any

import typer

from cmc_notify.cli.common import run_async
from cmc_notify.cli.options import single
from cmc_notify.cli.output import fail, print_lines
from cmc_notify.errors import ConfigError
from cmc_notify.simulator import OPEN, Auth, Quirks, Simulator, scenario_names

_OF_SCENARIO = "Options of a scenario"
_QUIRKS = "Options where the vendor's page is not clear"


def _option(flag: str, text: str, panel: str = _OF_SCENARIO) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=panel, show_default=False)


def simulate(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8081,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    scenario: Annotated[
        str, typer.Option("--scenario", help=f"One of {', '.join(scenario_names())}.")
    ] = "night-push",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same history.")] = 0,
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, help="Seconds of the scenario in one real second.")
    ] = 1.0,
    auth: Annotated[
        bool, typer.Option("--auth", help="Require sign-in; the credentials are printed.")
    ] = False,
    appliances: Annotated[
        int | None, _option("--appliances", "night-push, flaky, steady: how many appliances.")
    ] = None,
    jobs: Annotated[int | None, _option("--jobs", "large: how many jobs.")] = None,
    rows: Annotated[int | None, _option("--rows", "large: detail rows of each job.")] = None,
    open_jobs: Annotated[int | None, _option("--open-jobs", "large: how many jobs still run.")] = None,
    every: Annotated[float | None, _option("--every", "steady: seconds between pushes.")] = None,
    failure_rate: Annotated[
        float | None, _option("--failure-rate", "steady: share of pushes that fail, 0 to 1.")
    ] = None,
    many: Annotated[int | None, _option("--many", "hostile: the number of failures of one job.")] = None,
    big: Annotated[
        int | None, _option("--big", "hostile: the number of failures of 20 KB each of one job.")
    ] = None,
    outage: Annotated[float | None, _option("--outage", "flaky: length of each outage in seconds.")] = None,
    kinds: Annotated[str | None, _option("--kinds", "flaky: kinds of outage, separated by commas.")] = None,
    after_field: Annotated[
        str,
        _option(
            "--after-field",
            "The time that after and before compare: creation, push, completion or timestamp.",
            _QUIRKS,
        ),
    ] = "creation",
    exclusive: Annotated[
        bool, _option("--exclusive", "after and before leave out a time that is equal to the limit.", _QUIRKS)
    ] = False,
    filters_ignored: Annotated[
        bool, _option("--filters-ignored", "Ignore all filters: every list is the full list.", _QUIRKS)
    ] = False,
    spelling: Annotated[
        str, _option("--spelling", "camel (InProgress) or upper (IN_PROGRESS).", _QUIRKS)
    ] = "camel",
    missing: Annotated[
        str, _option("--missing", "Missing optional values are absent or null.", _QUIRKS)
    ] = "absent",
    rows_delay: Annotated[
        float, _option("--rows-delay", "Seconds between the status and its details.", _QUIRKS)
    ] = 0.0,
    inventory: Annotated[
        str, _option("--inventory", "The response of the appliance inventory: ok, 403 or 404.", _QUIRKS)
    ] = "ok",
) -> None:
    """Run a simulated controller, to try the bridge and your templates."""
    options = {
        "appliances": appliances, "jobs": jobs, "rows": rows, "open_jobs": open_jobs, "every": every,
        "failure_rate": failure_rate, "many": many, "big": big, "outage": outage, "kinds": kinds,
    }  # fmt: skip
    quirks: dict[str, Any] = {
        "after_field": _one_of("--after-field", after_field, "creation", "push", "completion", "timestamp"),
        "inclusive": not exclusive,
        "filters_ignored": filters_ignored,
        "spelling": _one_of("--spelling", spelling, "camel", "upper"),
        "missing": _one_of("--missing", missing, "absent", "null"),
        "rows_delay": rows_delay,
        "inventory": _one_of("--inventory", inventory, "ok", "403", "404"),
    }
    given = {name: value for name, value in options.items() if value is not None}
    run_async(_run(scenario, given, Quirks(**quirks), seed, speed, auth=auth, address=(host, port)))


def _one_of(option: str, value: str, *known: str) -> str:
    if value not in known:
        raise ConfigError(f"{option}: {value!r} is not valid; write one of {', '.join(known)}")
    return value


async def _run(
    scenario: str,
    options: dict[str, Any],
    quirks: Quirks,
    seed: int,
    speed: float,
    *,
    auth: bool,
    address: tuple[str, int],
) -> None:
    try:
        simulator = Simulator(
            scenario, seed=seed, speed=speed, quirks=quirks, auth=Auth() if auth else OPEN, **options
        )
    except ValueError as error:
        raise ConfigError(f"scenario {scenario!r}: {error}") from error
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        url = await simulator.start(*address)
    except OSError as error:
        fail(f"error: can't listen on {address[0]}:{address[1]}: {error.strerror}; write another --port")
    try:
        print_lines(f"A simulated controller, scenario {scenario} at speed {speed:g}: {url}")
        if auth:
            credentials = simulator.sign_in.auth
            print_lines(
                f"Sign-in: access code {credentials.access_code},"
                f" or {credentials.username} with {credentials.password}"
            )
        await _until(stopped, simulator)
    finally:
        await simulator.stop()


async def _until(stopped: asyncio.Event, simulator: Simulator) -> None:
    end = asyncio.create_task(stopped.wait())
    played = asyncio.create_task(simulator.wait_finished())
    await asyncio.wait((end, played), return_when=asyncio.FIRST_COMPLETED)
    if played.done():
        played.result()
        print_lines("The scenario has ended; the controller stays until Ctrl-C.")
        await end
    played.cancel()
    await asyncio.gather(played, return_exceptions=True)


app = single(simulate)
