"""The promises of every sink, each tried against a real receiver on loopback.

Every registered sink type and preset, third-party ones included, must have a case in ``CASES``. One table of
faults holds for all: a fault that passes is retried, a message that may have arrived is unclear, a fault that
an operator must fix blocks, a fault of one message rejects it. No secret comes out, a cancelled send leaves
nothing behind, a probe notifies nobody.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.outcome import RetryLater, Sent
from cmc_notify.sinks.plugin import load_plugins
from support.sink_case import TIMEOUT, MakeMessage, SinkCase, StartPostOffice
from support.sink_cases import CASES, missing_cases


def test_every_registered_sink_has_a_case() -> None:
    """The registry names every sink type and preset, and the contract holds all of them."""
    assert missing_cases(load_plugins()) == []


def test_a_third_party_sink_without_a_case_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that another package registers does not escape the contract."""
    metadata = tmp_path / "other_sink-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: other-sink\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[cmc_notify.sinks]\nother = cmc_notify.sinks.console:PLUGIN\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (missing,) = missing_cases(load_plugins())
    assert missing.startswith("sink type 'other': add a SinkCase")


@pytest.fixture(params=CASES)
async def case(request: pytest.FixtureRequest, start_post_office: StartPostOffice) -> AsyncIterator[SinkCase]:
    """Each sink in turn, or those that a test names."""
    made = CASES[request.param]()
    async with AsyncExitStack() as stack:
        await made.start(stack, start_post_office)
        yield made
    gc.collect(1)  # what was left open warns now, and warnings are errors


@pytest.mark.parametrize(
    ("case", "fault"),
    [(name, fault) for name, each in CASES.items() for fault in each.outcomes],
    indirect=["case"],
)
async def test_each_fault_has_its_outcome(
    fault: str, case: SinkCase, make_message: MakeMessage, record: Any
) -> None:
    """Each fault has its outcome, within the time-out, without a secret; then the sink goes on."""
    sink = case.build()
    case.fail_next(fault)
    async with asyncio.timeout(TIMEOUT + 5):
        outcome = await sink.send(make_message(), record)
    assert type(outcome) is case.outcomes[fault]
    assert case.secret not in repr(outcome)
    assert not any(coded in repr(outcome) for coded in ("czNjcjN0", "AGNtYwBz"))
    assert record.recorded == {}
    assert isinstance(await sink.send(make_message(key="next"), record), Sent)
    assert case.accepted() == 1
    await sink.close()


@pytest.mark.parametrize(
    "case", [name for name, each in CASES.items() if "busy" in each.outcomes], indirect=True
)
async def test_retry_after_is_passed_on(case: SinkCase, make_message: MakeMessage, record: Any) -> None:
    """If the receiver says when to try again, the outcome says so (SMTP and Apprise have no such field)."""
    sink = case.build()
    case.fail_next("busy")
    outcome = await sink.send(make_message(), record)
    assert isinstance(outcome, RetryLater)
    assert outcome.after == (7.0 if case.passes_retry_after else None)
    await sink.close()


@pytest.mark.parametrize("case", [name for name, each in CASES.items() if each.connects], indirect=True)
async def test_nobody_listens(
    case: SinkCase, make_message: MakeMessage, record: Any, closed_port: int
) -> None:
    """A refused connection is retried later, and its reason holds no secret; a probe says the same."""
    where = {
        "url": f"http://127.0.0.1:{closed_port}/s3cr3tpath",
        "webhook_url": f"http://127.0.0.1:{closed_port}/services/s3cr3tpath",
        "api_url": f"http://127.0.0.1:{closed_port}/api/",
        "port": closed_port,
        "urls": [f"json://cmc:s3cr3tpass@127.0.0.1:{closed_port}/s3cr3tpath"],
    }
    given = case.given()
    sink = case.build(**{key: value for key, value in where.items() if key in given})
    outcomes = [await sink.send(make_message(), record)]
    outcomes += [await sink.probe()] if case.probes_receiver else []
    for outcome in outcomes:
        assert isinstance(outcome, RetryLater)
        assert case.secret not in outcome.reason
    await sink.close()


async def test_a_cancelled_send_leaves_nothing_behind(
    case: SinkCase, make_message: MakeMessage, record: Any
) -> None:
    """Cancelled in the middle, a send ends at once and records nothing; the sink goes on."""
    sink = case.build(timeout=30)
    case.fail_next("silent")
    task = asyncio.create_task(sink.send(make_message(), record))
    await case.request_arrived()
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert record.recorded == {}
    assert isinstance(await sink.send(make_message(key="next"), record), Sent)
    await sink.close()


async def test_messages_are_sent_in_parallel(case: SinkCase, make_message: MakeMessage, record: Any) -> None:
    """Several deliveries share one sink."""
    sink = case.build(timeout=10)
    outcomes = await asyncio.gather(*(sink.send(make_message(key=f"key{n}"), record) for n in range(4)))
    assert [type(outcome) for outcome in outcomes] == [Sent] * 4
    assert case.accepted() == 4
    await sink.close()


async def test_a_probe_notifies_nobody(case: SinkCase) -> None:
    """A healthy receiver is found healthy, and no message arrives there."""
    sink = case.build()
    assert isinstance(await sink.probe(), Sent)
    assert case.accepted() == 0
    await sink.close()


async def test_a_sink_can_be_closed_at_any_time(
    case: SinkCase, make_message: MakeMessage, record: Any
) -> None:
    """An unused sink can be closed, and a sink can be closed twice."""
    unused = case.build()
    await unused.close()
    sink = case.build()
    assert isinstance(await sink.send(make_message(), record), Sent)
    await sink.close()
    await sink.close()


@pytest.mark.parametrize("case", [name for name, each in CASES.items() if each.connects], indirect=True)
async def test_no_secret_in_a_repr(case: SinkCase) -> None:
    """Neither the settings nor the sink show what they hold, also not a proxy's password."""
    assert case.secret in repr(case.given())
    proxy = {"proxy": f"http://u:{case.secret}@proxy.example.net:3128"} if case.takes_proxy else {}
    sink = case.build(**proxy)
    for shown in (repr(case.settings), str(case.settings), repr(sink), repr(vars(sink).keys())):
        assert case.secret not in shown
