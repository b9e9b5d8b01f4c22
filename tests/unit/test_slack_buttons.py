"""The buttons beneath a job's message: only what is allowed, only where it makes sense, within the limits."""

from typing import Any

import msgspec
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample
from cmc_notify.ports import Acknowledgement, Message
from cmc_notify.simulator.slack_rules import refusal
from cmc_notify.sinks.slack import SlackSettings
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL, SILENCE, buttons, subject_of
from cmc_notify.sinks.slack.limits import violations

SUBJECT = "job:emea:42-1795425000"
EVERYBODY = {"cancel": ["*"], "acknowledge": ["U012AB3CD"], "silence": ["S0NETOPS"]}
SOCKET: dict[str, Any] = {"app_token": "xapp-1"}
OPEN = {
    EventType.JOB_QUEUED, EventType.JOB_STARTED, EventType.JOB_PROGRESS, EventType.JOB_REOPENED,
    EventType.JOB_OVERDUE, EventType.APPLIANCE_FAILED,
}  # fmt: skip
IN_TROUBLE = {EventType.JOB_FAILED, EventType.JOB_OVERDUE, EventType.APPLIANCE_FAILED}


def settings(**given: Any) -> SlackSettings:
    """A bot's."""
    return SlackSettings.model_validate({"token": "xoxb-1", "channel": "#netops", **given})


def message(kind: EventType, **more: Any) -> Message:
    """An event about one job."""
    return Message(**{"key": "k", "event": sample(kind), "subject": SUBJECT, **more})


def actions(found: list[dict[str, Any]]) -> list[str]:
    """Return the elements that can be pressed."""
    return [element["action_id"] for block in found for element in block["elements"]]


@pytest.mark.parametrize("kind", EventType)
def test_each_state_has_its_buttons(kind: EventType) -> None:
    """An open job can be canceled and silenced, what is in trouble acknowledged; the rest has none."""
    expected = [CANCEL] * (kind in OPEN) + [ACKNOWLEDGE] * (kind in IN_TROUBLE) + [SILENCE] * (kind in OPEN)
    assert actions(buttons(message(kind), settings(**SOCKET, allow=EVERYBODY))) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        (SOCKET, []),
        ({**SOCKET, "allow": {"cancel": ["*"]}}, [CANCEL]),
        ({"signing_secret": "s", "allow": {"acknowledge": ["*"]}}, [ACKNOWLEDGE]),
        ({**SOCKET, "allow": {"silence": ["*"]}}, [SILENCE]),
    ],
)
def test_only_what_somebody_may_and_can_has_a_button(given: dict[str, Any], expected: list[str]) -> None:
    """A button that leads nowhere, or that nobody may press, is not there."""
    assert actions(buttons(message(EventType.APPLIANCE_FAILED), settings(**given))) == expected


def test_what_is_acknowledged_is_not_acknowledged_again() -> None:
    """The message shows by whom instead."""
    found = message(EventType.JOB_FAILED, acknowledged=Acknowledgement("anna", 1.0))
    assert buttons(found, settings(**SOCKET, allow=EVERYBODY)) == []


def test_failures_of_a_job_that_goes_on_can_be_acknowledged() -> None:
    """Also once the card has moved on to its progress."""
    event = sample(EventType.JOB_PROGRESS)
    assert event.job
    counts = msgspec.structs.replace(event.job.counts, failed=1)
    event = msgspec.structs.replace(event, job=msgspec.structs.replace(event.job, counts=counts))
    found = buttons(message(EventType.JOB_PROGRESS, event=event), settings(**SOCKET, allow=EVERYBODY))
    assert ACKNOWLEDGE in actions(found)


@pytest.mark.parametrize("more", [{"is_test": True}, {"subject": "test-1"}, {"subject": "job:" + "x" * 255}])
def test_what_a_press_could_not_name_has_no_buttons(more: dict[str, Any]) -> None:
    """A test, and what is no job that the store knows."""
    assert buttons(message(EventType.JOB_STARTED, **more), settings(**SOCKET, allow=EVERYBODY)) == []


def test_the_block_says_what_it_is_about() -> None:
    """And is another one for each state, so that a menu does not keep what was chosen before."""
    given = settings(**SOCKET, allow=EVERYBODY)
    events = [sample(EventType.JOB_STARTED), sample(EventType.JOB_PROGRESS)]
    blocks = [buttons(message(event.type, event=event), given)[0] for event in events]
    assert [subject_of(block["block_id"]) for block in blocks] == [SUBJECT, SUBJECT]
    assert blocks[0]["block_id"] != blocks[1]["block_id"]


def test_a_menu_offers_three_times() -> None:
    """An hour, four, or until the job ends."""
    [block] = buttons(message(EventType.JOB_STARTED), settings(**SOCKET, allow={"silence": ["*"]}))
    [menu] = block["elements"]
    assert [option["value"] for option in menu["options"]] == ["1h", "4h", "job"]


def test_to_cancel_is_asked_for_twice() -> None:
    """The dialog names the job; and all of it is within Slack's limits, however long its subject is."""
    subject = "job:" + "x" * 238
    found = buttons(message(EventType.JOB_OVERDUE, subject=subject), settings(**SOCKET, allow=EVERYBODY))
    assert len(actions(found)) == 3
    cancel = found[0]["elements"][0]
    assert cancel["style"] == "danger"
    assert cancel["confirm"]["title"]["text"] == "Cancel job 42?"
    assert violations({"text": "x", "blocks": found}) == []
    assert refusal({"text": "x", "blocks": found}) is None
