"""The fallback's delivery for a delivery that is given up."""

from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState, NewDelivery, Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher.sink_policy import SinkPolicy, fallback_delivery
from cmc_notify.ports import Claim, Delivery

PLAN = SinkPolicy(timeout=1, concurrency=1, retry=RetryPolicy(deadline=60))
DESK = SinkPolicy(timeout=1, concurrency=1, retry=RetryPolicy(), fallback="chat", tickets=True)
FAILURE = "failure:emea:V1:3"
JOB = "job:emea:42-1"


def instead(
    kind: EventType, plan: SinkPolicy = DESK, fallback: SinkPolicy = PLAN, **of: Any
) -> NewDelivery | None:
    """Return the fallback's delivery for one with an event of this type."""
    given: dict[str, Any] = {
        "id": "e1-desk",
        "key": "e1-desk",
        "event_id": "e1",
        "sink": "desk",
        "subject": JOB,
        "ordering_key": JOB,
        "state": DeliveryState.PENDING,
        "shown": None,
        "attempts": 1,
        "created_at": 0.0,
        "due_at": 0.0,
        "deadline_at": 0.0,
    }
    return fallback_delivery(Claim(Delivery(**given | of), sample(kind)), plan, fallback, now=100.0)


def test_it_has_the_same_event_and_the_same_subject() -> None:
    """With its own deadline."""
    copy = instead(EventType.JOB_FAILED, shown=(1,))
    assert copy is not None
    assert (copy.id, copy.subject, copy.ordering_key) == ("e1-chat-for-desk", JOB, JOB)
    assert (copy.shown, copy.purpose, copy.deadline_at) == ((1,), Purpose.NOTIFY, 160.0)


def test_one_message_stands_for_the_tickets_of_single_incidents() -> None:
    """Each that is given up gives the same one: the store writes it once."""
    one = instead(EventType.JOB_FAILED, id="e1-desk-0a", subject=FAILURE, shown=(0,))
    two = instead(EventType.JOB_FAILED, id="e1-desk-0b", subject="failure:emea:V2:3", shown=(1,))
    assert one is not None
    assert two is not None
    assert (one.subject, one.shown) == (two.subject, two.shown) == ("event:e1", None)


def test_each_ticket_has_an_end_of_its_own() -> None:
    """People are notified, where a ticket would have been closed, each with its own subject."""
    copies = [
        instead(
            EventType.APPLIANCE_RECOVERED,
            id=f"e1-desk-{n}",
            subject=f"job:emea:{n}",
            shown=(n,),
            purpose=Purpose.CLOSE,
        )
        for n in (0, 1)
    ]
    assert [copy and (copy.id, copy.shown, copy.purpose) for copy in copies] == [
        ("e1-chat-for-desk-0", (0,), Purpose.NOTIFY),
        ("e1-chat-for-desk-1", (1,), Purpose.NOTIFY),
    ]
    assert len({copy.subject for copy in copies if copy}) == 2


def test_another_ticketing_system_gets_the_ticket_itself() -> None:
    """Subject, purpose and the shown failures stay."""
    copy = instead(
        EventType.JOB_FAILED,
        fallback=SinkPolicy(timeout=1, concurrency=1, retry=RetryPolicy(), tickets=True),
        subject=FAILURE, shown=(0,),
    )  # fmt: skip
    assert copy is not None
    assert (copy.subject, copy.shown) == (FAILURE, (0,))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (EventType.JOB_PROGRESS, {}),
        (EventType.JOB_SUCCEEDED, {"purpose": Purpose.FOLLOW}),
    ],
)
def test_what_would_only_have_brought_something_up_to_date_is_no_loss(
    kind: EventType, given: dict[str, Any]
) -> None:
    """The fallback has no message there to update."""
    assert instead(kind, **given) is None
