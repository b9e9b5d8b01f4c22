"""``status``, ``failures`` and ``jobs show`` tell of tickets, of who has taken a job, and of silences."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import SEVERITY, Event, EventType, event_id, rfc3339
from cmc_notify.core.model import Job, JobState, TrackedFailure
from cmc_notify.core.silences import Silence
from cmc_notify.ports import ControllerMeta, PollCommit, Posting, SavedJob
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.store import open_store
from support.command_line import written

NOW = time.time()
SERIAL = "V2AB00001"


async def remember(folder: Path, job: Job) -> None:
    """The job failed on one appliance, which is silenced; it has a ticket, and somebody has taken it."""
    uid = f"{job.id}-{job.creation_time}"
    subject = f"job:emea:{uid}"
    event = Event(
        id=event_id(NOW, 1), type=EventType.JOB_STARTED, time=rfc3339(NOW) or "",
        severity=SEVERITY[EventType.JOB_STARTED], controller="emea",
    )  # fmt: skip
    incident = TrackedFailure(
        id="i1", controller="emea", serial=SERIAL, feature_id=3, feature="QoS", appliance=None,
        error_text="broke", opened_at=NOW, opened_event=event.id, job_uid=uid, job_id=job.id,
        last_job_uid=uid, failed_order=(1, 1), tickets={"snow": (subject,)},
    )  # fmt: skip
    delivery = NewDelivery(
        id="d1", event_id=event.id, sink="snow", subject=subject, ordering_key=subject, due_at=NOW,
        deadline_at=NOW + 3600,
    )  # fmt: skip
    store = await open_store(f"sqlite:///{folder}/store.db", clock=time.time, exclusive=True)
    await store.poll.commit_poll(
        PollCommit(
            controller="emea",
            expected_version=0,
            meta=ControllerMeta(first_run_done=True, last_poll_at=NOW, last_attempt_at=NOW),
            jobs=(SavedJob(JobState(uid=uid, job=job), bytes(16)),),
            events=(event,),
            deliveries=(delivery,),
            failures=(incident,),
            event_uids={event.id: (uid, 1)},
        )
    )
    ticket = Posting(reference="x", label="INC0012345", url="https://snow.example/1")
    await store.outbox.record_part("d1", "done", "r", posting=ticket)
    await store.chat_actions.acknowledge(subject, by="Zoë", at=NOW)
    await store.silences.add(
        Silence(
            id="s1", serials=("V2*",), starts_at=NOW, ends_at=NOW + 3600, created_by="ops", created_at=NOW
        )
    )
    await store.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A config without a controller that answers."""
    return configured(tmp_path, "http://127.0.0.1:9")


def configured(folder: Path, url: str) -> str:
    """The config of one controller and a store in the folder."""
    config = {
        "controllers": {"emea": {"url": url}},
        "sinks": {"screen": {"type": "console"}},
        "routes": [{"sinks": ["screen"]}],
        "store": {"url": f"sqlite:///{folder}/store.db"},
    }
    return str(written(folder, config))


async def test_failures_and_status_say_what_stands(file: str, tmp_path: Path, in_thread: Any) -> None:
    """For people in a word or two each, as JSON whole."""
    await remember(tmp_path, Job(id=7, status="InProgress", creation_time=100))

    async def ask(*arguments: str) -> str:
        code, out, err = await in_thread(*arguments, "--config", file)
        assert (code, err) == (0, "")
        return str(out)

    ticket = {
        "sink": "snow", "subject": "job:emea:7-100", "label": "INC0012345",
        "url": "https://snow.example/1", "open": True,
    }  # fmt: skip
    head, line = (await ask("failures")).splitlines()
    assert "note" in head.split()
    assert "silenced, ticket INC0012345 (snow), acknowledged by Zoë" in line
    [failure] = msgspec.json.decode(await ask("failures", "--json"))
    assert (failure["silenced_by"], failure["tickets"]) == (["s1"], [ticket])
    assert failure["acknowledged"]["by"] == "Zoë"

    said = await ask("status")
    assert "emea: job 7: ticket INC0012345 (snow), acknowledged by Zoë" in said
    assert "A silence is active until " in said
    row = next(line for line in said.splitlines() if line.startswith("INC0012345"))
    assert row.split()[1:6] == ["snow", "job", "7", "on", "emea"]
    document = msgspec.json.decode(await ask("status", "--json"))
    assert document["open_jobs"][0]["tickets"] == [ticket]
    assert [each["label"] for each in document["tickets"]] == ["INC0012345"]
    assert [each["id"] for each in document["silences"]] == ["s1"]

    said = await ask("failures", "close", failure["key"])
    assert said.splitlines()[1:] == [
        "close these tickets yourself, the bridge will not close them:",
        "  snow: INC0012345 https://snow.example/1",
    ]


async def test_a_jobs_ticket_and_who_has_taken_it_are_shown_with_it(tmp_path: Path, in_thread: Any) -> None:
    """Where the bridge's store knows of them; a job of the same id from before a restore is another one."""
    async with Simulator("empty", auth=OPEN) as sim:
        assert sim.url
        file = configured(tmp_path, sim.url)
        created = int(sim.now) - 100
        job = sim.jobs.add(feature_ids=[3], creation_time=created)

        async def show() -> str:
            code, out, err = await in_thread("jobs", "show", str(job.id), "--config", file)
            assert (code, err) == (0, "")
            return str(out)

        assert "Ticket" not in await show()  # there is no store yet
        await remember(tmp_path, Job(id=job.id, status="Queued", creation_time=created))
        said = await show()
        assert "INC0012345 (snow) https://snow.example/1" in said
        assert "by Zoë, " in said
        code, out, _ = await in_thread("jobs", "show", str(job.id), "--json", "--config", file)
        assert code == 0
        document = msgspec.json.decode(out)
        assert [each["label"] for each in document["tickets"]] == ["INC0012345"]
        assert document["acknowledged"]["by"] == "Zoë"
        (tmp_path / "store.db").unlink()
        await remember(tmp_path, Job(id=job.id, status="Queued", creation_time=created - 1000))
        assert "INC0012345" not in await show()
