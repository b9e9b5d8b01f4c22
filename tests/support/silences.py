"""Silences and events for tests."""

from typing import Any

from cmc_notify.core.events import SEVERITY, Event, EventType, failures, job_info
from cmc_notify.core.model import Feature, Job, Names, Outcome, Row
from cmc_notify.core.routing import Shown
from cmc_notify.core.silences import Silence, apply_silences

NAMES = Names({3: Feature(3, "qos", "QoS"), 4: Feature(4, "path_rules", "Path Rules")})
NOW = 1_000_015.0
SUBJECT = "job:emea:1-100"
PLAN: dict[str, Shown] = {"chat": None, "mail": None}


def silence(name: str = "s1", **fields: Any) -> Silence:
    """Active now for an hour, unless said otherwise."""
    known: dict[str, Any] = {
        "starts_at": NOW - 10,
        "ends_at": NOW + 3600,
        "created_by": "ops",
        "created_at": NOW - 10,
    }
    return Silence(id=name, **known | fields)


def event(
    kind: EventType = EventType.JOB_FAILED,
    *pairs: tuple[str | None, int | None],
    status: str = "Failed",
    **of_job: Any,
) -> Event:
    """An event of controller emea about job 1, with these failures; about no job where its type says so."""
    details = tuple(Row(serial, feature, Outcome.FAILED, "broke") for serial, feature in pairs)
    job = Job(id=1, status=status, feature_ids=(3, 4), rows=details, **of_job)
    of_sink = kind.startswith("sink.")
    without = of_sink or kind.startswith("controller.")
    return Event(
        id="e",
        type=kind,
        time="2026-11-23T09:20:00Z",
        severity=SEVERITY[kind],
        controller=None if of_sink else "emea",
        sink="mail" if of_sink else None,
        job=None if without else job_info(job, NAMES, previous_status=None),
        failures=() if without else failures(job, NAMES, pairs, set()),
    )


def left(what: Event, *silences: Silence, plan: dict[str, Shown] = PLAN) -> dict[str, Shown]:
    """Return the failures that each sink is shown after silences."""
    subject = SUBJECT if what.job else "controller:emea"
    return apply_silences(what, plan, silences, subject=subject, now=NOW)[0]
