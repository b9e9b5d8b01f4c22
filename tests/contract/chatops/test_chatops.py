"""What people do from Slack, over a real Socket Mode connection and a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.errors import ControllerError, ControllerUnreachable
from cmc_notify.simulator.slack import Fault, refusal_with
from cmc_notify.simulator.slack_people import Person
from cmc_notify.simulator.slack_workspace import SlackMessage
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL, SILENCE
from cmc_notify.sinks.slack.limits import violations
from support.chatops_harness import ANNA, BERT, JOB, NOW, SUBJECT, ChatHarness, chat_harness

EPHEMERAL = "chat.postEphemeral"


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ChatHarness]:
    """Anna may do everything, nobody else anything."""
    async with chat_harness(tmp_path) as made:
        yield made


def refuse(error: Exception) -> Callable[[], Any]:
    """A controller's way to say no."""

    def answer() -> Any:
        raise error

    return answer


async def test_cancel_asks_the_controller_and_tells_what_it_answers(harness: ChatHarness) -> None:
    """The presser in private and the thread for all, the name harmless; the audit has it."""
    assert (await harness.slack.press(harness.message, CANCEL, ANNA)).status == 200
    [told] = await harness.slack.wait_shown_to(ANNA)
    assert told == "Asked to cancel job 42; the controller responded: job 42 is Canceled."
    await harness.slack.wait(lambda _slack: bool(harness.replies()))
    assert harness.replies() == [
        "Anna &lt;!channel&gt; asked to cancel job 42; the controller responded: job 42 is Canceled."
    ]
    assert harness.controller.asked == 1
    [action] = await harness.store.chat_actions.actions()
    assert (action.who, action.name, action.via, action.sink) == (ANNA.id, ANNA.name, "socket", "chat")
    assert (action.subject, action.outcome) == (SUBJECT, "done")
    assert action.answer == "the controller responded: job 42 is Canceled"
    assert harness.counted("cancel", "done") == 1


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ControllerError("job 42 was not canceled: it is <Success>"), "it is &lt;Success&gt;"),
        (ControllerUnreachable("no answer"), "no answer; whether it was canceled will show here"),
    ],
    ids=["refused", "unreachable"],
)
async def test_the_controllers_no_is_shown(harness: ChatHarness, error: ControllerError, shown: str) -> None:
    """To the presser and in the thread, in its words."""
    harness.controller.cancels = refuse(error)
    await harness.slack.press(harness.message, CANCEL, ANNA)
    [told] = await harness.slack.wait_shown_to(ANNA)
    assert shown in told
    await harness.slack.wait(lambda _slack: bool(harness.replies()))
    assert shown in harness.replies()[0]
    assert await harness.outcomes() == [("cancel", "failed", ANNA.id)]


async def test_a_job_that_is_over_or_another_is_not_canceled(harness: ChatHarness) -> None:
    """The controller is looked at first: a finished job, and another under the same id, are left alone."""
    for job, why in (
        (replace(JOB, status="Success"), "job 42 is Success already"),
        (replace(JOB, creation_time=JOB.creation_time + 9 if JOB.creation_time else 0), "has another job"),
    ):
        harness.controller.job = job
        await harness.slack.press(harness.message, CANCEL, ANNA)
        count = len(harness.slack.shown_to(ANNA))
        assert why in (await harness.slack.wait_shown_to(ANNA, count or 1))[-1]
        harness.slack.ephemerals.clear()
    assert harness.controller.asked == 0
    assert {outcome for _, outcome, _ in await harness.outcomes()} == {"outdated"}


async def test_the_press_is_acknowledged_while_the_controller_hangs(harness: ChatHarness) -> None:
    """Well within Slack's three seconds; a second press meanwhile asks nobody, and says so."""
    harness.controller.answering.clear()
    ack = await harness.slack.press(harness.message, CANCEL, ANNA)
    assert ack.status == 200
    assert ack.seconds < 1
    await harness.controller.called.wait()
    await harness.slack.press(harness.message, CANCEL, ANNA)
    assert "somebody else is canceling it right now" in (await harness.slack.wait_shown_to(ANNA))[0]
    harness.controller.answering.set()
    await harness.slack.wait_shown_to(ANNA, 2)
    assert harness.controller.asked == 1


async def test_who_may_not_is_told_so_in_private(harness: ChatHarness) -> None:
    """Politely, with whom to ask; nothing changes, and it is written down."""
    for action, option in ((CANCEL, None), (ACKNOWLEDGE, None), (SILENCE, "1h")):
        await harness.slack.press(harness.message, action, BERT, option)
    for told in await harness.slack.wait_shown_to(BERT, 3):
        assert told.startswith("Sorry, you may not")
        assert f"<@{ANNA.id}>" in told
    assert await harness.outcomes() == [
        (action, "refused", BERT.id) for action in ("acknowledge", "cancel", "silence")
    ]
    assert harness.controller.asked == 0
    assert not await harness.due()
    assert not harness.replies()
    assert await harness.store.silences.list_silences(now=NOW) == []


async def test_user_groups(tmp_path: Path) -> None:
    """Members of a named group may, others not; where the group can't be asked, nobody, with the reason."""
    allow = {"acknowledge": ["S0ONCALL"]}
    async with chat_harness(tmp_path, allow=allow) as harness:
        harness.slack.fail_next(
            "usergroups.users.list", refusal_with("missing_scope", needed="usergroups:read")
        )
        await harness.slack.press(harness.message, ACKNOWLEDGE, ANNA)
        [told] = await harness.slack.wait_shown_to(ANNA)
        assert "could not be read: usergroups.users.list: missing_scope (needs usergroups:read)" in told
        harness.slack.groups["S0ONCALL"] = {ANNA.id}
        await harness.slack.press(harness.message, ACKNOWLEDGE, BERT)
        assert "you may not" in (await harness.slack.wait_shown_to(BERT))[0]
        await harness.slack.press(harness.message, ACKNOWLEDGE, ANNA)
        assert "Acknowledged" in (await harness.slack.wait_shown_to(ANNA, 2))[1]
        asked = [method for method, _ in harness.slack.calls if method == "usergroups.users.list"]
        assert len(asked) == 2, "the members are remembered for a while, a refusal is not"
        await harness.slack.press(harness.message, CANCEL, ANNA)
        assert "Nobody may" in (await harness.slack.wait_shown_to(ANNA, 3))[2]


async def test_acknowledge_shows_on_the_message_and_the_first_one_has_it(tmp_path: Path) -> None:
    """The message is due again at once; who comes second is told who has it."""
    async with chat_harness(tmp_path, allow={"acknowledge": ["*"]}) as harness:
        await harness.slack.press(harness.message, ACKNOWLEDGE, ANNA)
        await harness.slack.wait_shown_to(ANNA)
        await harness.slack.press(harness.message, ACKNOWLEDGE, BERT)
        assert await harness.slack.wait_shown_to(BERT) == [
            "Anna &lt;!channel&gt; has already acknowledged it."
        ]
        await harness.chat.stop(5)
        assert await harness.due()
        assert harness.woken == 1
        [claim] = await harness.store.outbox.claim("chat", owner="me", limit=1, lease=9)
        assert claim.acknowledged
        assert claim.acknowledged.by == ANNA.name
        assert [outcome for _, outcome, _ in await harness.outcomes()] == ["done", "outdated"]


@pytest.mark.parametrize(("option", "seconds"), [("1h", 3600), ("4h", 14400), ("job", 7 * 86400)])
async def test_silence(harness: ChatHarness, option: str, seconds: float) -> None:
    """Of this very job, for as long as was chosen; who asked for it stands in it."""
    await harness.slack.press(harness.message, SILENCE, ANNA, option)
    await harness.slack.wait_shown_to(ANNA)
    [silence] = await harness.store.silences.list_silences(now=NOW)
    assert (silence.subject, silence.controllers, silence.jobs) == (SUBJECT, ("emea",), (42,))
    assert (silence.starts_at, silence.ends_at) == (NOW, NOW + seconds)
    assert silence.until_job == (option == "job")
    assert silence.created_by == ANNA.name
    await harness.chat.stop(5)
    assert await harness.due()


async def test_a_message_that_is_not_current_does_nothing(harness: ChatHarness) -> None:
    """An old copy of the message, or one about another job, has buttons that no longer count."""
    copy = SlackMessage("C0NETOPS001", "1795425600.000777", harness.message.raw)
    await harness.slack.press(copy, CANCEL, ANNA)
    assert "no longer current" in (await harness.slack.wait_shown_to(ANNA))[0]
    other = json.loads(json.dumps(harness.message.raw).replace("emea:42", "emea:43"))
    await harness.slack.press(SlackMessage(harness.message.channel, harness.message.ts, other), CANCEL, ANNA)
    assert "no longer current" in (await harness.slack.wait_shown_to(ANNA, 2))[1]
    assert harness.controller.asked == 0
    assert [outcome for _, outcome, _ in await harness.outcomes()] == ["outdated", "outdated"]


async def test_the_same_press_acts_once(harness: ChatHarness) -> None:
    """Slack may send it again, to another replica: one of them acts, and the person is told once."""
    other = harness.another()
    other.start()
    await harness.slack.sockets.wait_connected(2)
    payload = harness.slack.pressed(harness.message, CANCEL, ANNA)
    acks = [await harness.slack.sockets.deliver("interactive", payload) for _ in range(4)]
    assert [ack.status for ack in acks] == [200] * 4
    await harness.slack.wait_shown_to(ANNA)
    await asyncio.gather(harness.chat.stop(5), other.stop(5))
    assert harness.controller.asked == 1
    assert len(harness.slack.ephemerals) == 1
    assert len(await harness.store.chat_actions.actions()) == 1


async def test_what_makes_no_sense_is_acknowledged_and_noted(harness: ChatHarness) -> None:
    """Whatever comes, Slack gets its answer and the connection stays; of a flood, few rows are written."""
    good = harness.slack.pressed(harness.message, CANCEL, ANNA)
    [action] = good["actions"]
    strange: list[Any] = [
        None,
        [],
        "text",
        good | {"user": {"id": "<script>"}},
        good | {"actions": []},
        good | {"actions": [action | {"block_id": "job:EMEA"}]},
        good | {"container": {}, "message": {}},
        good | {"actions": [action | {"action_id": SILENCE, "selected_option": {"value": "9y"}}]},
        good | {"actions": [{"action_id": 7}]},
        *[good | {"actions": None}] * 5,
    ]
    for payload in strange:
        assert (await harness.slack.sockets.deliver("interactive", payload)).status == 200
    unasked = good | {"actions": [action | {"action_id": "open_link"}]}
    assert (await harness.slack.sockets.deliver("interactive", unasked)).status == 200
    assert (await harness.slack.sockets.deliver("events_api", {"type": "event"})).status == 200
    for text in ("no json", "[1]", "{}", '{"envelope_id": 7, "type": "interactive", "payload": {}}'):
        await harness.slack.sockets.send(text)
    await harness.slack.press(harness.message, CANCEL, ANNA)
    await harness.slack.wait_shown_to(ANNA)
    await harness.chat.stop(5)
    assert harness.counted("unknown", "unreadable") == len(strange)
    outcomes = [outcome for _, outcome, _ in await harness.outcomes()]
    assert outcomes == ["done"] + ["unreadable"] * 10
    assert harness.slack.sockets.opened_count == 1


async def test_answers_that_slack_does_not_take_change_nothing(harness: ChatHarness) -> None:
    """The job is canceled and written down all the same."""
    harness.slack.fail_next(EPHEMERAL, refusal_with("not_in_channel"))
    harness.slack.fail_next("chat.postMessage", Fault("drop"))
    await harness.slack.press(harness.message, CANCEL, ANNA)
    await harness.slack.wait(
        lambda slack: {EPHEMERAL, "chat.postMessage"} <= {call[0] for call in slack.calls}
    )
    await harness.chat.stop(5)
    assert await harness.outcomes() == [("cancel", "done", ANNA.id)]


@pytest.mark.parametrize("words", ["&" * 5000, "\U0001f600" * 5000, "`" * 5000, "<!channel>\n" * 500])
async def test_a_controller_may_say_anything(harness: ChatHarness, words: str) -> None:
    """Its words are shown within Slack's limits, harmless, and kept longer in the audit."""
    harness.controller.cancels = refuse(ControllerError(words))
    await harness.slack.press(harness.message, CANCEL, ANNA)
    await harness.slack.wait_shown_to(ANNA)
    await harness.chat.stop(5)
    [reply] = harness.slack.thread(harness.message)
    for raw in (reply.raw, harness.slack.ephemerals[0].raw):
        assert violations(raw) == []
        assert "<!channel>" not in str(raw)
    [action] = await harness.store.chat_actions.actions()
    assert action.answer == words[:2000]


async def test_a_name_may_hold_anything(harness: ChatHarness) -> None:
    """What no store and no encoding takes, and 10,000 characters of it."""
    odd = Person(ANNA.id, "\ud800\0\u202e```" + "x" * 10_000)
    await harness.slack.press(harness.message, CANCEL, odd)
    await harness.slack.wait_shown_to(ANNA)
    await harness.chat.stop(5)
    [action] = await harness.store.chat_actions.actions()
    assert action.name
    assert len(action.name) <= 80
    assert "\u202e" not in harness.replies()[0]
