"""Three replicas on one database, killed again and again: nothing lost, nothing twice without a cause."""

from pathlib import Path

import pytest

from support.postgres import PostgresServer
from support.soak.judge import judge
from support.soak.plan import Plan
from support.soak.report import report, transitions
from support.soak.run import soak
from support.soak.store import PostgresqlStore

TRANSITIONS = 1000

PLAN = Plan(
    seconds=240,  # a bound: it ends with the last transition
    transitions=TRANSITIONS,
    replicas=3,
    controllers=3,
    lanes=30,  # so many that those whose messages a dead replica still holds stop no others
    concurrency=6,
    poll=0.5,
    sink_timeout=2,
    stop_every=None,  # the server is shared with other tests
)


@pytest.mark.timeout(400)
async def test_killed_replicas_lose_nothing_and_explain_each_repeat(
    tmp_path: Path, postgresql_server: PostgresServer
) -> None:
    """1,000 transitions to two receivers that misbehave, a replica killed every few seconds: each event is
    at each receiver, in order, a resolve never before its trigger; each repeat is a named send that lost
    contact; each controller is polled again within ten seconds of the death of its poller.
    """
    store = PostgresqlStore(postgresql_server, await postgresql_server.new_database())
    record = await soak(PLAN, store, tmp_path)
    result = judge(record)
    assert result.violations == [], report(PLAN, record, result)
    assert transitions(record) >= TRANSITIONS
    assert len(record.kills) >= 5
    assert any(kill.leased for kill in record.kills)
    assert any(takeover.judged for takeover in result.takeovers)
