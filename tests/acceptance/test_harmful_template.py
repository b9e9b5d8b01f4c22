"""A real bridge with a user's template that never ends."""

from pathlib import Path

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import bridge

ENDLESS = "{% for a in range(99999) %}\n{% for b in range(99999) %}{% endfor %}{% endfor %}"


async def test_alerts_arrive_in_spite_of_an_endless_template(tmp_path: Path) -> None:
    """Every job is told with its error, the log names file and line, and the bridge polls on."""
    folder = tmp_path / "templates" / "webhook"
    folder.mkdir(parents=True)
    (folder / "default.json.j2").write_text(ENDLESS)
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        for number in range(5):
            job = sim.jobs.add(feature_ids=[3], site_ids=[1])
            job.start()
            job.finish("Failed", error_text=f"no route to host {number}")
        config = {
            "controllers": {"emea": {"url": sim.url, "first_run": "all", "poll": {"interval": "200ms"}}},
            "sinks": {"hook": {"type": "webhook", "url": receiver.url}},
            "routes": [{"sinks": ["hook"]}],
            "templates_dir": str(tmp_path / "templates"),
        }
        async with bridge(tmp_path, config) as process:
            await process.wait(lambda _: len(receiver.requests) >= 5, within=30)
            await process.polls(3)
            assert await process.stop() == 0
        told = [request.document for request in receiver.requests]
        assert {document["job"]["error_text"] for document in told} == {
            f"no route to host {number}" for number in range(5)
        }
        assert all("runs longer than" in document["template_error"] for document in told)
        (line, *_) = [entry for entry in process.log if entry.get("event") == "template.failed"]
        assert (line["template"], line["line"]) == ("webhook/default.json.j2", 2)
