"""What Slack sends is read strictly, and signed requests are told from others."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from cmc_notify.chatops.payloads import UnreadablePayload, read_command, read_form, read_json, read_press
from cmc_notify.chatops.permissions import (
    cancel_refusal,
    cancel_refusal_now,
    is_listed,
    refusal_text,
    user_groups,
)
from cmc_notify.chatops.signature_check import SignatureCheck
from cmc_notify.core.model import Job, JobState

PRESS: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U0ANNA", "username": "anna", "name": "anna", "team_id": "T1"},
    "trigger_id": "1.2.3",
    "container": {"type": "message", "message_ts": "1795425600.000100", "channel_id": "C0NETOPS001"},
    "actions": [
        {
            "action_id": "cmc_cancel",
            "block_id": "job:emea:42-1795420000#0123456789ab",
            "type": "button",
            "action_ts": "1795425601.000200",
        }
    ],
}
NOW = 1_795_425_600
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_a_press_is_read() -> None:
    """Who, what, on which message, about which job."""
    press = read_press(PRESS)
    assert press
    assert (press.person.id, press.person.name, press.action, press.option) == (
        "U0ANNA",
        "anna",
        "cancel",
        None,
    )
    assert (press.subject, press.controller, press.uid) == (
        "job:emea:42-1795420000",
        "emea",
        "42-1795420000",
    )
    assert press.reference == "C0NETOPS001:1795425600.000100"


def test_the_same_press_has_one_id_and_another_has_another() -> None:
    """By who, where, what and when; not by what else the payload holds."""
    again = read_press(PRESS | {"message": {"text": "newer"}})
    later = read_press(PRESS | {"actions": [PRESS["actions"][0] | {"action_ts": "1795425602.000200"}]})
    other = read_press(PRESS | {"user": {"id": "U0BERT"}})
    first = read_press(PRESS)
    assert first
    assert again
    assert later
    assert other
    assert first.id == again.id
    assert len({first.id, later.id, other.id}) == 3
    assert other.person.name == "U0BERT"


def test_what_is_not_ours_is_nothing() -> None:
    """A link's button, a view, a shortcut: acknowledged, and nothing else."""
    assert read_press({"type": "view_submission"}) is None
    assert read_press(PRESS | {"actions": [{"action_id": "open_link", "block_id": "x"}]}) is None


@pytest.mark.parametrize("uid", ["4\0002", "4\ud8002", "4 2", "4\n2", "4\u202e2", "4" * 300])
def test_a_job_that_no_store_could_hold_is_none(uid: str) -> None:
    """What a block's id names goes into queries and the audit: only what a uid is made of gets there."""
    action = PRESS["actions"][0] | {"block_id": f"job:emea:{uid}#0123456789ab"}
    with pytest.raises(UnreadablePayload):
        read_press(PRESS | {"actions": [action]})


@settings(max_examples=60)
@given(place=st.sampled_from([*PRESS, "action_id", "block_id", "message_ts", "channel_id"]), value=anything)
def test_whatever_comes_is_a_press_nothing_or_unreadable(place: str, value: object) -> None:
    """No payload makes anything else of itself, and ids that are read have the form of ids."""
    payload = json.loads(json.dumps(PRESS))
    for target in (payload, payload["actions"][0], payload["container"]):
        if place in target:
            target[place] = value
    try:
        press = read_press(payload)
    except UnreadablePayload:
        return
    if press is not None:
        assert press.subject.startswith("job:")
        assert press.reference.startswith(("C", "G", "D"))
        assert len(press.person.name) <= 80
        press.person.name.encode()


@given(anything)
def test_whatever_comes_is_a_command_or_unreadable(value: Any) -> None:
    """The same for commands."""
    try:
        command = read_command(value)
    except UnreadablePayload:
        return
    assert command.person.id


def test_a_command_is_read() -> None:
    """Words in lower case, whatever stands between them."""
    fields = {"user_id": "U0ANNA", "user_name": "anna", "channel_id": "C1X", "text": "  Failures\tEMEA "}
    assert read_command(fields).words == ("failures", "emea")


@given(st.binary(max_size=200))
def test_any_body_is_a_form_or_unreadable(body: bytes) -> None:
    """No body ends in another error."""
    try:
        fields = read_form(body)
        read_json(fields.get("payload", ""))
    except UnreadablePayload:
        return


def test_a_genuine_request_passes_and_others_do_not() -> None:
    """By Slack's own code: secret, body, timestamp and age all count."""
    door = SignatureCheck("secret\n", clock=lambda: NOW)
    verifier = SignatureVerifier("secret")
    body = "payload=%7B%7D"

    def signed(at: int, text: str = body) -> str:
        return verifier.generate_signature(timestamp=str(at), body=text) or ""

    assert door.refusal(body.encode(), str(NOW), signed(NOW)) is None
    assert door.refusal(body.encode(), str(NOW - 300), signed(NOW - 300)) is None
    assert "301 s from our clock" in str(door.refusal(body.encode(), str(NOW - 301), signed(NOW - 301)))
    assert "-301 s" in str(door.refusal(body.encode(), str(NOW + 301), signed(NOW + 301)))
    assert door.refusal(body.encode() + b"x", str(NOW), signed(NOW))
    assert door.refusal(body.encode(), str(NOW - 1), signed(NOW))
    assert door.refusal(body.encode(), None, signed(NOW)) == "it is not signed"
    assert door.refusal(body.encode(), str(NOW), None) == "it is not signed"


@given(st.binary(max_size=50), st.text(max_size=20), st.text(max_size=90))
def test_nothing_that_was_not_signed_passes(body: bytes, timestamp: str, signature: str) -> None:
    """Whatever stands in the headers, it is refused, and nothing breaks."""
    assert SignatureCheck("secret", clock=lambda: NOW).refusal(body, timestamp, signature)


@pytest.mark.parametrize(
    ("allowed", "may"),
    [((), False), (("*",), True), (("U0ANNA",), True), (("U0BERT", "S0X"), False)],
)
def test_who_is_allowed_by_name(allowed: tuple[str, ...], *, may: bool) -> None:
    """Nobody by default, everybody by ``*``; members of groups are another question."""
    assert is_listed(allowed, "U0ANNA") is may
    assert user_groups(allowed) == tuple(each for each in allowed if each == "S0X")


def test_a_refusal_names_few_whom_to_ask() -> None:
    """People and groups as Slack shows them, ten at most."""
    said = refusal_text("cancel", [f"U{number:03}" for number in range(30)], unknown=["no answer"])
    assert said.count("<@U") == 10
    assert said.endswith("could not be read: no answer")
    assert "<!subteam^S0X>" in refusal_text("silence", ["S0X"])


def test_what_can_be_canceled() -> None:
    """An open job that the controller still shows as the same one."""
    job = Job(id=42, status="InProgress", creation_time=7)
    state = JobState(uid="42-7", job=job)
    assert cancel_refusal(state) is None
    assert cancel_refusal_now(state, job) is None
    assert cancel_refusal_now(state, None) is None
    assert cancel_refusal_now(state, Job(id=42, status="Queued")) is None
    assert "another job" in str(cancel_refusal_now(state, Job(id=42, status="Queued", creation_time=8)))
    assert "is Canceled already" in str(
        cancel_refusal_now(state, Job(id=42, status="Canceled", creation_time=7))
    )
    assert "no longer on the controller" in str(cancel_refusal(JobState(uid="42-7", job=job, vanished=True)))
    over = JobState(uid="42-7", job=Job(id=42, status="Failed", creation_time=7))
    assert cancel_refusal(over) == "job 42 is Failed already"
