"""Random kills for as long as wished: ``python tests/soak.py --seconds 600 --replicas 3``.

Plays a busy day on several simulated controllers for real bridges that are killed, frozen and cut off from
their database, and receivers that misbehave; then prints what came of it. Exits 1 if anything was lost, came
twice without a cause, or came out of order.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.postgres import postgres_server
from support.soak.judge import judge
from support.soak.plan import Plan
from support.soak.report import report
from support.soak.run import soak
from support.soak.store import PostgresqlStore, SqliteStore, Store


def main() -> int:
    """Play, print the report, and return the exit code."""
    plan, kept = _asked()
    with _folder(kept) as folder, _store(plan, folder) as store:
        record = asyncio.run(soak(plan, store, folder, progress=_say))
    result = judge(record)
    _say(report(plan, record, result))
    return 1 if result.violations else 0


def _asked() -> tuple[Plan, Path | None]:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of chaos; draining comes after it")
    parser.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--replicas", type=int, help="3 on PostgreSQL; SQLite can have but 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-every", type=float, help="seconds, about: 3, or 6 with one replica")
    parser.add_argument(
        "--stop-every", type=float, default=20.0, help="seconds, about: PostgreSQL is stopped"
    )
    parser.add_argument(
        "--freeze-every", type=float, help="seconds, about: a replica stands still; off by itself"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder for what is thrown away otherwise: the replicas' logs"
    )
    given = parser.parse_args()
    replicas = given.replicas or (1 if given.store == "sqlite" else 3)
    if given.store == "sqlite" and replicas != 1:
        parser.error("a SQLite store has one replica")
    plan = Plan(
        seconds=given.seconds,
        replicas=replicas,
        store=given.store,
        seed=given.seed,
        kill_every=given.kill_every or (3.0 if replicas > 1 else 6.0),
        stop_every=given.stop_every,
        freeze_every=given.freeze_every,
    )
    return plan, given.keep


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="cmc-notify-soak-") as name:
        yield Path(name)


@contextmanager
def _store(plan: Plan, folder: Path) -> Iterator[Store]:
    if plan.store == "sqlite":
        yield SqliteStore(folder)
        return
    with postgres_server() as server:
        yield PostgresqlStore(server, asyncio.run(server.new_database()))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a program's report


if __name__ == "__main__":
    sys.exit(main())
