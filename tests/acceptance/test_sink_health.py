"""A receiver that refuses everything, seen by a real bridge and told to the other sinks."""

from pathlib import Path
from typing import Any

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from support.bridge_process import bridge


def config(sim_url: str, tickets_url: str, chat_url: str) -> dict[str, Any]:
    """Jobs go to ``tickets``; what is not for it goes to ``chat``."""
    retry = {"initial": "200ms", "max": "1s"}
    return {
        "controllers": {
            "emea": {
                "url": sim_url,
                "first_run": "all",
                "poll": {"interval": "200ms", "idle_interval": "200ms", "settle": "1s"},
            }
        },
        "sinks": {
            "tickets": {"type": "webhook", "url": tickets_url, "retry": retry},
            "chat": {"type": "webhook", "url": chat_url, "retry": retry},
        },
        "routes": [{"sinks": ["tickets"]}, {"sinks": ["tickets", "chat"]}],
        "shutdown_grace": "3s",
    }


def fail_job(sim: Simulator) -> None:
    """A job that fails before it reaches any appliance."""
    job = sim.jobs.add(feature_ids=[3], site_ids=[1])
    job.start()
    job.finish("Failed", error_text="no route to the interpreter")


async def test_a_failing_sink_and_its_recovery_are_told_once_each(tmp_path: Path) -> None:
    """While it answers 401 the other sink hears so once, also over a restart; then, once, that it works."""
    async with Receiver() as tickets, Receiver() as chat, Simulator(auth=OPEN) as sim:
        assert sim.url
        setting = config(sim.url, tickets.url, chat.url)
        tickets.otherwise = ScriptedResponse(status=401)
        fail_job(sim)
        async with bridge(tmp_path, setting) as process:
            await chat.wait(lambda r: len(r.accepted) == 1)
            assert await process.stop() == 0
        [failing] = [request.document for request in chat.requests]
        assert (failing["type"], failing["sink"], failing["controller"], failing["job"]) == (
            "sink.failing",
            "tickets",
            None,
            None,
        )
        assert "401" in failing["reason"]
        assert failing["since"]

        async with bridge(tmp_path, setting) as process:
            refused = len(tickets.requests)
            fail_job(sim)
            await process.polls(2)
            await tickets.wait(lambda r: len(r.requests) > refused, timeout=40)
            assert len(chat.requests) == 1

            tickets.otherwise = ScriptedResponse()
            await chat.wait(lambda r: len(r.accepted) == 2, timeout=60)
            await process.drained(within=60)
            assert await process.stop() == 0

        recovered = chat.requests[-1].document
        assert (recovered["type"], recovered["sink"], recovered["since"]) == (
            "sink.recovered",
            "tickets",
            failing["since"],
        )
        assert len(chat.requests) == 2
        assert {request.document["type"] for request in tickets.accepted} == {"job.failed"}
        assert len(tickets.accepted) == 2
