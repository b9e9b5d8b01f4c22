"""The dead man's switch of a real bridge: it is called while all is well, and falls silent when it is not."""

from pathlib import Path
from typing import Any

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import bridge

POLL = {"interval": "100ms", "idle_interval": "100ms", "timeout": "1s"}


def config(switch: Path, **controllers: Simulator) -> dict[str, Any]:
    """Every controller is polled ten times a second; the address comes from a file."""
    return {
        "controllers": {name: {"url": sim.url, "poll": POLL} for name, sim in controllers.items()},
        "sinks": {"screen": {"type": "console"}},
        "routes": [{"sinks": ["screen"]}],
        "heartbeat_url_file": str(switch),
        "shutdown_grace": "3s",
    }


async def test_one_controller_that_fails_silences_the_switch(tmp_path: Path) -> None:
    """Calls come while both are polled; with one failing none comes, however well the other does."""
    async with Receiver() as watch, Simulator(auth=OPEN) as emea, Simulator(auth=OPEN) as apac:
        switch = tmp_path / "switch"
        switch.write_text(f"{watch.url}/s3cr3t-address\n")
        async with bridge(tmp_path, config(switch, emea=emea, apac=apac)) as process:
            await watch.wait(lambda r: len(r.requests) >= 3)
            with apac.outage("503"):
                await process.wait(lambda log: sum(line.get("event") == "poll.failed" for line in log) >= 2)
                await process.polls(3)  # of the other one: what was under way is over
                silent = len(watch.requests)
                await process.polls(5)
                assert len(watch.requests) == silent
            await watch.wait(lambda r: len(r.requests) > silent)
            assert await process.stop() == 0
            assert "s3cr3t-address" not in str(process.log)
