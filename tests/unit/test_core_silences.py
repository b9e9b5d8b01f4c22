"""Silences hide the events and failures that they match, and nothing else."""

from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.core.events import Event, EventType
from cmc_notify.core.routing import Shown
from cmc_notify.core.silences import apply_silences
from support.silences import NOW, PLAN, SUBJECT, event, left, silence

THREE = event(EventType.JOB_FAILED, ("V1", 3), ("V1", 4), ("V2", 3))
SINGLE = event(EventType.JOB_FAILED, ("V1", 3))
assert SINGLE.job


# --- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"serials": ("V2",)}, (0, 1)),
        ({"features": ("QoS",)}, (1,)),
        ({"features": ("qos",)}, (1,)),
        ({"serials": ("V1",), "features": ("Path*",)}, (0, 2)),
        ({"serials": ("V1",), "features": ("dns",)}, None),
        ({"serials": ("v1",)}, None),
        ({"serials": ("V1",), "controllers": ("apac",)}, None),
        ({"serials": ("V1",), "jobs": (2,)}, None),
        ({"serials": ("V1",), "jobs": (1, 2), "controllers": ("em*",)}, (2,)),
    ],
)
def test_only_the_failures_that_match_are_hidden(asked: dict[str, Any], shown: Shown) -> None:
    """Each matcher must fit one and the same failure; globs and names are those of routes."""
    assert left(THREE, silence(**asked)) == {"chat": shown, "mail": shown}


def test_a_sink_whose_failures_are_all_hidden_is_not_notified() -> None:
    """Others, whose route shows them more, are."""
    assert left(THREE, silence(serials=("V1",)), plan={"chat": (0, 1), "mail": (1, 2)}) == {"mail": (2,)}


def test_two_silences_hide_together_and_both_are_named() -> None:
    """A silence that hides nothing more is not named."""
    several = [silence(name, serials=(name,)) for name in ("V1", "V2", "V9")]
    shown, by = apply_silences(THREE, PLAN, several, subject=SUBJECT, now=NOW)
    assert shown == {}
    assert [each.id for each in by] == ["V1", "V2"]


@pytest.mark.parametrize(
    "told",
    [
        event(EventType.JOB_FAILED, ("V1", 3), error_text="no licence"),
        replace(SINGLE, job=replace(SINGLE.job, details_pending=True)),
        event(EventType.JOB_SUCCEEDED, ("V1", 3), status="Success"),
        event(EventType.JOB_CANCELED, ("V1", 3), status="Canceled"),
    ],
)
def test_an_event_about_more_than_its_failures_is_sent_without_them(told: Event) -> None:
    """A pre-push error, results to come, a success, a cancellation: the silence does not hide those."""
    assert left(SINGLE, silence(serials=("V1",))) == {}
    assert left(told, silence(serials=("V1",))) == {"chat": (), "mail": ()}


@pytest.mark.parametrize("kind", [EventType.JOB_STARTED, EventType.JOB_OVERDUE, EventType.JOB_FAILED])
def test_an_event_without_failures_is_left_alone_by_silences_of_failures(kind: EventType) -> None:
    """Also where the job's features match."""
    told = event(kind, status="InProgress")
    assert left(told, silence(features=("QoS",)), silence(serials=("*",))) == PLAN
    assert left(told, silence(jobs=(1,))) == {}


@pytest.mark.parametrize("kind", [each for each in EventType if each.endswith(".recovered")])
def test_a_recovery_is_never_hidden(kind: EventType) -> None:
    """Whatever is silenced, it goes to each sink that was notified of the failure."""
    assert left(event(kind), silence(controllers=("*",)), silence(serials=("*",))) == PLAN


# --- jobs, controllers, time ------------------------------------------------------------------------------


def test_a_silence_of_a_job_or_controller_hides_the_whole_event() -> None:
    """With its pre-push error; another job, or another with the same id, is announced."""
    whole = event(EventType.JOB_FAILED, ("V1", 3), error_text="no licence")
    assert left(whole, silence(controllers=("emea",))) == {}
    assert left(whole, silence(subject=SUBJECT)) == {}
    assert left(whole, silence(jobs=(2,))) == PLAN
    assert left(whole, silence(subject="job:emea:1-200")) == PLAN


@pytest.mark.parametrize(
    ("asked", "hidden"),
    [
        ({"controllers": ("emea",)}, True),
        ({"controllers": ("apac",)}, False),
        ({"controllers": ("emea",), "jobs": (1,)}, False),
        ({"controllers": ("emea",), "serials": ("*",)}, False),
        ({"controllers": ("emea",), "features": ("*",)}, False),
        ({"jobs": (1,)}, False),
        ({"serials": ("*",)}, False),
    ],
)
def test_a_controllers_own_events_are_hidden_only_by_a_silence_of_nothing_but_controllers(
    asked: dict[str, Any], *, hidden: bool
) -> None:
    """A silence of an appliance does not hide the loss of its controller."""
    told = event(EventType.CONTROLLER_UNREACHABLE)
    assert left(told, silence(**asked)) == ({} if hidden else PLAN)


@pytest.mark.parametrize(("starts", "ends"), [(1, 10), (-10, 0), (-10, -1)])
def test_a_silence_that_has_not_begun_or_is_over_hides_nothing(starts: float, ends: float) -> None:
    """It begins with its first moment, and ends before its last."""
    assert left(THREE, silence(jobs=(1,), starts_at=NOW + starts, ends_at=NOW + ends)) == PLAN
    assert left(THREE, silence(jobs=(1,), starts_at=NOW, ends_at=NOW + 1)) == {}
