"""Test readiness, liveness and metrics."""

import asyncio

import pytest

from support.web_fakes import (
    FAILED,
    Client,
    FakeLedger,
    FakeStatus,
)


async def test_ready_only_after_every_first_poll(client: Client, status: FakeStatus) -> None:
    """503 names the controller that was not tried yet; then 200; and 503 again while stopping."""
    status.tried = False
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert "apac" in await answer.text()
    assert "emea" not in await answer.text()
    status.tried = True
    assert (await client.get("/readyz")).status == 200
    status.stopping = True
    assert "stopping" in await (await client.get("/readyz")).text()


async def test_without_a_store_it_lives_but_is_not_ready(client: Client, ledger: FakeLedger) -> None:
    """An unusable store makes the bridge unready and its pages 503, and nothing else."""
    ledger.broken = True
    assert (await client.get("/healthz")).status == 200
    ready = await client.get("/readyz")
    assert ready.status == 503
    assert "disk full" in await ready.text()
    assert (await client.get("/metrics")).status == 200
    for path in ("/", f"/events/{FAILED.id}", "/api/v1/status", "/api/v1/jobs"):
        answer = await client.get(path)
        assert answer.status == 503
        assert "disk full" not in await answer.text()


async def test_strangers_learn_no_reasons(client: Client, ledger: FakeLedger) -> None:
    """A probe through a proxy learns that the bridge is not ready, not why."""
    ledger.broken = True
    answer = await client.get("/readyz", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status == 503
    assert await answer.text() == "not ready\n"


async def test_a_store_that_hangs_is_unready_in_time(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe gets its answer before it gives up."""

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ledger, "ping", hang)
    monkeypatch.setattr("cmc_notify.web.readiness.PING_TIMEOUT", 0.05)
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert "did not respond" in await answer.text()


async def test_probes_do_not_load_the_store(client: Client, ledger: FakeLedger) -> None:
    """A burst of probes tries the store once, since each trial writes and no probe needs a token."""
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert ledger.asked.count("ping") == 1


async def test_readiness_follows_the_store(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails and comes back makes the bridge unready and ready again."""
    monkeypatch.setattr("cmc_notify.web.readiness.PING_CACHE_TIME", 0.0)
    for broken, expected in ((False, 200), (True, 503), (False, 200)):
        ledger.broken = broken
        assert (await client.get("/readyz")).status == expected


async def test_metrics_show_what_the_store_holds(client: Client) -> None:
    """A scrape reads the outbox as it is now, in the format that Prometheus asks for."""
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = await answer.text()
    for line in (
        'cmc_notify_outbox_pending{sink="chat"} 2.0',
        'cmc_notify_outbox_dead{sink="chat"} 1.0',
        'cmc_notify_outbox_oldest_seconds{sink="chat"} 50.0',
        'cmc_notify_outbox_pending{sink="mail"} 0.0',
        'cmc_notify_sink_blocked{sink="mail"} 1.0',
        'cmc_notify_sink_blocked{sink="chat"} 0.0',
        'cmc_notify_failures_open{controller="emea"} 1201.0',
        'cmc_notify_failures_open{controller="apac"} 0.0',
    ):
        assert line in text.splitlines()
