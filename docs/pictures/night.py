"""The event of the pictures: a push to 120 appliances of which 23 failed, for five reasons."""

import msgspec

from cmc_notify.core.events import (
    ApplianceCounts,
    Counts,
    Event,
    EventType,
    Failure,
    FeatureRef,
    Recovery,
    Targets,
)
from cmc_notify.core.samples import sample

FEATURES = (FeatureRef(3, "qos", "QoS"), FeatureRef(7, "pathsel", "Path Selection"))
# fmt: off
CITIES = (
    "paris", "lyon", "nice", "lille", "berlin", "hamburg", "koeln", "munich", "madrid", "sevilla", "porto",
    "lisboa", "milano", "roma", "torino", "wien", "graz", "praha", "brno", "krakow", "gdansk", "oslo",
    "bergen",
)
# fmt: on
CAUSES = (
    (12, 0, "connection timed out after 120 s: no answer on tcp/22"),
    (6, 0, "Rule 12: class 'voice-ef' is not defined on this appliance\n  in policy branch-default, line 48"),
    (3, 1, "certificate of cmc-emea.example.net expired on 2026-11-22; clock of the appliance: 2026-11-23"),
    (2, 1, "commit failed: candidate configuration is locked by user 'admin' (session 4711)"),
    (1, 0, "disk /config is 98% full: needs 512 MB, has 61 MB"),
)
"""How many appliances, which feature, and what they answered."""
LINK = "https://cmc-notify.example.net/events/01a2097370fc?expires=1798104000&signature=c2FtcGxl"


def failed_job() -> Event:
    """``job.failed`` of job 4104, whose last but one appliance failed with both features."""
    failures = []
    number = 0
    for count, feature, text in CAUSES:
        for _ in range(count):
            city = number % len(CITIES)
            serial, host = f"V2AB{1040 + 7 * city}", f"{CITIES[city]}-edge-{1 + city % 3}"
            named = FEATURES[feature]
            failures.append(Failure(serial, host, named.id, named.label, text, new=True))
            number += 1
    return _about_job(EventType.JOB_FAILED, "Failed", (193, 24, 23, 0), failures=tuple(failures))


def half_way() -> Event:
    """``job.progress`` of the same job, with the failures so far."""
    failures = failed_job().failures[:9]
    return _about_job(EventType.JOB_PROGRESS, "InProgress", (121, 9, 9, 110), failures=failures)


def recovered() -> Event:
    """``appliance.recovered``: the night's largest group works again."""
    recoveries = tuple(
        Recovery(each.serial, each.appliance, each.feature_id, each.feature, "2026-11-23T02:31:12Z", 4104)
        for each in failed_job().failures[:12]
    )
    event = _about_job(EventType.APPLIANCE_RECOVERED, "Success", (12, 0, 0, 0), job_id=4107)
    return msgspec.structs.replace(event, recoveries=recoveries)


def _about_job(
    kind: EventType,
    status: str,
    counts: tuple[int, int, int, int],
    *,
    job_id: int = 4104,
    failures: tuple[Failure, ...] = (),
) -> Event:
    """``counts``: rows that succeeded and failed, appliances that failed, rows that are open."""
    event = sample(kind)
    assert event.job
    succeeded, failed, appliances, open_ = counts
    total = succeeded + failed + open_
    job = msgspec.structs.replace(
        event.job,
        id=job_id,
        idx=job_id,
        status=status,
        created="2026-11-23T02:14:00Z",
        pushed="2026-11-23T02:15:04Z",
        completed=None if open_ else "2026-11-23T02:31:12Z",
        features=FEATURES,
        targets=Targets(site_ids=(7, 9, 12)),
        counts=Counts(total, open_, 0, succeeded, failed, ApplianceCounts(120 if failed else 12, appliances)),
    )
    time = "2026-11-23T02:24:10Z" if open_ else "2026-11-23T02:31:15Z"
    return msgspec.structs.replace(event, time=time, job=job, failures=failures, url=LINK, since=None)
