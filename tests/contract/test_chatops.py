"""What people do from Slack, over a real Socket Mode connection and a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from chat_stage import ANNA, BERT, JOB, NOW, SUBJECT, ChatStage, chat_stage
from msgspec.structs import replace

from cmc_notify.errors import ControllerError, ControllerUnreachable
from cmc_notify.simulator.slack import Fault, refusal_with
from cmc_notify.simulator.slack_people import Person
from cmc_notify.simulator.slack_workspace import SlackMessage
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL, SILENCE
from cmc_notify.sinks.slack.limits import violations

EPHEMERAL = "chat.postEphemeral"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[ChatStage]:
    """Anna may do everything, nobody else anything."""
    async with chat_stage(tmp_path) as made:
        yield made


def refuse(error: Exception) -> Callable[[], Any]:
    """A controller's way to say no."""

    def answer() -> Any:
        raise error

    return answer


async def test_cancel_asks_the_controller_and_tells_what_it_answers(stage: ChatStage) -> None:
    """The presser in private and the thread for all, the name harmless; the audit has it."""
    assert (await stage.slack.press(stage.message, CANCEL, ANNA)).status == 200
    [told] = await stage.slack.told(ANNA)
    assert told == "Asked to cancel job 42; the controller answers: job 42 is Canceled."
    await stage.slack.wait(lambda _slack: bool(stage.replies()))
    assert stage.replies() == [
        "Anna &lt;!channel&gt; asked to cancel job 42; the controller answers: job 42 is Canceled."
    ]
    assert stage.controller.asked == 1
    [action] = await stage.store.acting.actions()
    assert (action.who, action.name, action.via, action.sink) == (ANNA.id, ANNA.name, "socket", "chat")
    assert (action.subject, action.outcome) == (SUBJECT, "done")
    assert action.answer == "the controller answers: job 42 is Canceled"
    assert stage.counted("cancel", "done") == 1


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ControllerError("job 42 was not canceled: it is <Success>"), "it is &lt;Success&gt;"),
        (ControllerUnreachable("no answer"), "no answer; whether it was canceled will show here"),
    ],
    ids=["refused", "unreachable"],
)
async def test_the_controllers_no_is_shown(stage: ChatStage, error: ControllerError, shown: str) -> None:
    """To the presser and in the thread, in its words."""
    stage.controller.cancels = refuse(error)
    await stage.slack.press(stage.message, CANCEL, ANNA)
    [told] = await stage.slack.told(ANNA)
    assert shown in told
    await stage.slack.wait(lambda _slack: bool(stage.replies()))
    assert shown in stage.replies()[0]
    assert await stage.outcomes() == [("cancel", "failed", ANNA.id)]


async def test_a_job_that_is_over_or_another_is_not_canceled(stage: ChatStage) -> None:
    """The controller is looked at first: a finished job, and another under the same id, are left alone."""
    for job, why in (
        (replace(JOB, status="Success"), "job 42 is Success already"),
        (replace(JOB, creation_time=JOB.creation_time + 9 if JOB.creation_time else 0), "has another job"),
    ):
        stage.controller.job = job
        await stage.slack.press(stage.message, CANCEL, ANNA)
        count = len(stage.slack.shown_to(ANNA))
        assert why in (await stage.slack.told(ANNA, count or 1))[-1]
        stage.slack.ephemerals.clear()
    assert stage.controller.asked == 0
    assert {outcome for _, outcome, _ in await stage.outcomes()} == {"outdated"}


async def test_the_press_is_acknowledged_while_the_controller_hangs(stage: ChatStage) -> None:
    """Well within Slack's three seconds; a second press meanwhile asks nobody, and says so."""
    stage.controller.answering.clear()
    ack = await stage.slack.press(stage.message, CANCEL, ANNA)
    assert ack.status == 200
    assert ack.seconds < 1
    await stage.controller.called.wait()
    await stage.slack.press(stage.message, CANCEL, ANNA)
    assert "somebody else is canceling it just now" in (await stage.slack.told(ANNA))[0]
    stage.controller.answering.set()
    await stage.slack.told(ANNA, 2)
    assert stage.controller.asked == 1


async def test_who_may_not_is_told_so_in_private(stage: ChatStage) -> None:
    """Politely, with whom to ask; nothing changes, and it is written down."""
    for action, option in ((CANCEL, None), (ACKNOWLEDGE, None), (SILENCE, "1h")):
        await stage.slack.press(stage.message, action, BERT, option)
    for told in await stage.slack.told(BERT, 3):
        assert told.startswith("Sorry, you may not")
        assert f"<@{ANNA.id}>" in told
    assert await stage.outcomes() == [
        (action, "refused", BERT.id) for action in ("acknowledge", "cancel", "silence")
    ]
    assert stage.controller.asked == 0
    assert not await stage.due()
    assert not stage.replies()
    assert await stage.store.silences.list_silences(now=NOW) == []


async def test_user_groups(tmp_path: Path) -> None:
    """Members of a named group may, others not; where the group can't be asked, nobody, with the reason."""
    allow = {"acknowledge": ["S0ONCALL"]}
    async with chat_stage(tmp_path, allow=allow) as stage:
        stage.slack.fail_next(
            "usergroups.users.list", refusal_with("missing_scope", needed="usergroups:read")
        )
        await stage.slack.press(stage.message, ACKNOWLEDGE, ANNA)
        [told] = await stage.slack.told(ANNA)
        assert "could not be asked: usergroups.users.list: missing_scope (needs usergroups:read)" in told
        stage.slack.groups["S0ONCALL"] = {ANNA.id}
        await stage.slack.press(stage.message, ACKNOWLEDGE, BERT)
        assert "you may not" in (await stage.slack.told(BERT))[0]
        await stage.slack.press(stage.message, ACKNOWLEDGE, ANNA)
        assert "Acknowledged" in (await stage.slack.told(ANNA, 2))[1]
        asked = [method for method, _ in stage.slack.calls if method == "usergroups.users.list"]
        assert len(asked) == 2, "the members are remembered for a while, a refusal is not"
        await stage.slack.press(stage.message, CANCEL, ANNA)
        assert "Nobody may" in (await stage.slack.told(ANNA, 3))[2]


async def test_acknowledge_shows_on_the_message_and_the_first_one_has_it(tmp_path: Path) -> None:
    """The message is due again at once; who comes second is told who has it."""
    async with chat_stage(tmp_path, allow={"acknowledge": ["*"]}) as stage:
        await stage.slack.press(stage.message, ACKNOWLEDGE, ANNA)
        await stage.slack.told(ANNA)
        await stage.slack.press(stage.message, ACKNOWLEDGE, BERT)
        assert await stage.slack.told(BERT) == ["Anna &lt;!channel&gt; has acknowledged it already."]
        await stage.chat.stop(5)
        assert await stage.due()
        assert stage.woken == 1
        [claim] = await stage.store.outbox.claim("chat", owner="me", limit=1, lease=9)
        assert claim.acknowledged
        assert claim.acknowledged.by == ANNA.name
        assert [outcome for _, outcome, _ in await stage.outcomes()] == ["done", "outdated"]


@pytest.mark.parametrize(("option", "seconds"), [("1h", 3600), ("4h", 14400), ("job", 7 * 86400)])
async def test_silence(stage: ChatStage, option: str, seconds: float) -> None:
    """Of this very job, for as long as was chosen; who asked for it stands in it."""
    await stage.slack.press(stage.message, SILENCE, ANNA, option)
    await stage.slack.told(ANNA)
    [silence] = await stage.store.silences.list_silences(now=NOW)
    assert (silence.subject, silence.controllers, silence.jobs) == (SUBJECT, ("emea",), (42,))
    assert (silence.starts_at, silence.ends_at) == (NOW, NOW + seconds)
    assert silence.until_job == (option == "job")
    assert silence.created_by == ANNA.name
    await stage.chat.stop(5)
    assert await stage.due()


async def test_a_message_that_is_not_current_does_nothing(stage: ChatStage) -> None:
    """An old copy of the message, or one about another job, has buttons that no longer count."""
    copy = SlackMessage("C0NETOPS001", "1795425600.000777", stage.message.raw)
    await stage.slack.press(copy, CANCEL, ANNA)
    assert "no longer current" in (await stage.slack.told(ANNA))[0]
    other = json.loads(json.dumps(stage.message.raw).replace("emea:42", "emea:43"))
    await stage.slack.press(SlackMessage(stage.message.channel, stage.message.ts, other), CANCEL, ANNA)
    assert "no longer current" in (await stage.slack.told(ANNA, 2))[1]
    assert stage.controller.asked == 0
    assert [outcome for _, outcome, _ in await stage.outcomes()] == ["outdated", "outdated"]


async def test_the_same_press_acts_once(stage: ChatStage) -> None:
    """Slack may send it again, to another replica: one of them acts, and the person is told once."""
    other = stage.another()
    other.start()
    await stage.slack.sockets.connected(2)
    payload = stage.slack.pressed(stage.message, CANCEL, ANNA)
    acks = [await stage.slack.sockets.deliver("interactive", payload) for _ in range(4)]
    assert [ack.status for ack in acks] == [200] * 4
    await stage.slack.told(ANNA)
    await asyncio.gather(stage.chat.stop(5), other.stop(5))
    assert stage.controller.asked == 1
    assert len(stage.slack.ephemerals) == 1
    assert len(await stage.store.acting.actions()) == 1


async def test_what_makes_no_sense_is_acknowledged_and_noted(stage: ChatStage) -> None:
    """Whatever comes, Slack gets its answer and the connection stays; of a flood, few rows are written."""
    good = stage.slack.pressed(stage.message, CANCEL, ANNA)
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
        assert (await stage.slack.sockets.deliver("interactive", payload)).status == 200
    unasked = good | {"actions": [action | {"action_id": "open_link"}]}
    assert (await stage.slack.sockets.deliver("interactive", unasked)).status == 200
    assert (await stage.slack.sockets.deliver("events_api", {"type": "event"})).status == 200
    for text in ("no json", "[1]", "{}", '{"envelope_id": 7, "type": "interactive", "payload": {}}'):
        await stage.slack.sockets.send(text)
    await stage.slack.press(stage.message, CANCEL, ANNA)
    await stage.slack.told(ANNA)
    await stage.chat.stop(5)
    assert stage.counted("unknown", "unreadable") == len(strange)
    outcomes = [outcome for _, outcome, _ in await stage.outcomes()]
    assert outcomes == ["done"] + ["unreadable"] * 10
    assert stage.slack.sockets.greeted == 1


async def test_answers_that_slack_does_not_take_change_nothing(stage: ChatStage) -> None:
    """The job is canceled and written down all the same."""
    stage.slack.fail_next(EPHEMERAL, refusal_with("not_in_channel"))
    stage.slack.fail_next("chat.postMessage", Fault("drop"))
    await stage.slack.press(stage.message, CANCEL, ANNA)
    await stage.slack.wait(lambda slack: {EPHEMERAL, "chat.postMessage"} <= {call[0] for call in slack.calls})
    await stage.chat.stop(5)
    assert await stage.outcomes() == [("cancel", "done", ANNA.id)]


@pytest.mark.parametrize("words", ["&" * 5000, "\U0001f600" * 5000, "`" * 5000, "<!channel>\n" * 500])
async def test_a_controller_may_say_anything(stage: ChatStage, words: str) -> None:
    """Its words are shown within Slack's limits, harmless, and kept longer in the audit."""
    stage.controller.cancels = refuse(ControllerError(words))
    await stage.slack.press(stage.message, CANCEL, ANNA)
    await stage.slack.told(ANNA)
    await stage.chat.stop(5)
    [reply] = stage.slack.thread(stage.message)
    for raw in (reply.raw, stage.slack.ephemerals[0].raw):
        assert violations(raw) == []
        assert "<!channel>" not in str(raw)
    [action] = await stage.store.acting.actions()
    assert action.answer == words[:2000]


async def test_a_name_may_hold_anything(stage: ChatStage) -> None:
    """What no store and no encoding takes, and 10,000 characters of it."""
    odd = Person(ANNA.id, "\ud800\0\u202e```" + "x" * 10_000)
    await stage.slack.press(stage.message, CANCEL, odd)
    await stage.slack.told(ANNA)
    await stage.chat.stop(5)
    [action] = await stage.store.acting.actions()
    assert action.name
    assert len(action.name) <= 80
    assert "\u202e" not in stage.replies()[0]
