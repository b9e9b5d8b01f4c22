"""Sample events for previews, for checking templates and for tests: a usual one of each type, and one of each
type whose every text is hostile.
"""

import msgspec

from cmc_notify.core.events import (
    SEVERITY,
    ApplianceCounts,
    Counts,
    Event,
    EventType,
    Failure,
    FeatureRef,
    JobInfo,
    Recovery,
    Targets,
    event_id,
)

HOSTILE_TEXT = (
    'first "line" with \\ and \'\n---\n```\n<!channel> <@U012AB3CD> <https://evil.example|click> &amp;\n'
    "{{ 7*7 }} {% raw %} ${x} %s {0}\n</script></pre><script>alert(1)</script><!-- ]]>\n"
    "\u202egnp.exe\u2066 \x1b[31mred\x07\x9b \x00 \x7f \x85 \u2028\u2029\r\ncr\rlf\ttab \ufffd \U0001f600"
)
_TIME = 1795425600.0  # 2026-11-23T09:20:00Z

_STATUS = {
    EventType.JOB_QUEUED: (None, "Queued"),
    EventType.JOB_STARTED: ("Queued", "InProgress"),
    EventType.JOB_PROGRESS: ("InProgress", "InProgress"),
    EventType.JOB_SUCCEEDED: ("InProgress", "Success"),
    EventType.JOB_CANCELED: ("InProgress", "Canceled"),
    EventType.JOB_FAILED: ("InProgress", "Failed"),
    EventType.JOB_REOPENED: ("Failed", "InProgress"),
    EventType.JOB_OVERDUE: ("InProgress", "InProgress"),
    EventType.JOB_VANISHED: ("InProgress", "InProgress"),
    EventType.APPLIANCE_FAILED: ("InProgress", "InProgress"),
    EventType.APPLIANCE_RECOVERED: ("InProgress", "Success"),
}
_FAILURES = (
    Failure("V2AB0001", "paris-edge-1", 3, "QoS", "Rule 12: class 'voice' is not defined", new=True),
    Failure("V2AB0002", "lyon-edge-1", 3, "QoS", "Rule 12: class 'voice' is not defined", new=False),
    Failure("V2AB0007", None, 5, "SNMP", "Time-out after 120 s:\nno answer from 10.20.7.1:22", new=True),
    Failure(None, None, None, None, None, new=True),
)
_RECOVERIES = (
    Recovery("V2AB0001", "paris-edge-1", 3, "QoS", "2026-11-23T07:05:00Z", 40),
    Recovery("V2AB0002", None, 3, "QoS", "2026-11-23T07:06:00Z", 40),
    Recovery("V2AB0003", "nice-edge-1", 5, "SNMP", "2026-11-22T18:00:00Z", 38),
)
_REASONS = {
    EventType.CONTROLLER_UNREACHABLE: "no connection to cmc-emea.example.net:443: timed out after 30 s",
    EventType.CONTROLLER_UNAUTHORIZED: "AUTH_INVALID_CREDENTIALS: the access code was refused",
    EventType.SINK_FAILING: "Blocked: channel_not_found; invite the bridge into #netops",
}
_ROWS = 12
_DONE = {
    EventType.JOB_QUEUED: 0,
    EventType.JOB_STARTED: 0,
    EventType.JOB_REOPENED: 0,
    EventType.JOB_SUCCEEDED: _ROWS,
    EventType.JOB_FAILED: _ROWS,
    EventType.APPLIANCE_RECOVERED: _ROWS,
}
"""The number of results that the controller had at the time of the event; ``_SOME`` for other types."""
_SOME = 7
_FAILED = frozenset({EventType.JOB_FAILED, EventType.APPLIANCE_FAILED})


def sample(event_type: EventType) -> Event:
    """Return a usual event of this type."""
    index = list(EventType).index(event_type)
    about_sink = event_type.startswith("sink.")
    return Event(
        id=event_id(_TIME, index, "sample", event_type),
        type=event_type,
        time="2026-11-23T09:20:00Z",
        severity=SEVERITY[event_type],
        controller=None if about_sink else "emea",
        url="https://bridge.example.net/events/sample?expires=1798104000&signature=c2FtcGxl",
        reason=_REASONS.get(event_type),
        since=None if event_type in _STATUS else "2026-11-23T08:57:30Z",
        sink="chat" if about_sink else None,
        job=_job(event_type) if event_type in _STATUS else None,
        failures=_failures(event_type),
        recoveries=_RECOVERIES if event_type is EventType.APPLIANCE_RECOVERED else (),
    )


def samples() -> list[Event]:
    """Return for every type the event of ``sample`` and a hostile one, and jobs with unusual shapes."""
    every = [sample(event_type) for event_type in EventType]
    return [*every, *_shapes(), _long_lines(), _unknown(), *map(_hostile, every)]


def many_failures(number: int = 10_000) -> Event:
    """Return a failed job with ``number`` failures, each text the same on about ten appliances."""
    failures = tuple(
        Failure(
            f"V{index:05d}",
            f"edge-{index}",
            index % 7,
            f"F{index % 7}",
            f"{index % 1001} failed: " + "e" * 80,
            new=True,
        )
        for index in range(number)
    )
    return msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures)


def _long_lines() -> Event:
    """Return an event with errors of 20 KB on one line, in several scripts."""
    texts = (
        "x" * 20_000,
        "\u05e9\u05dc\u05d5\u05dd " * 2_500,
        "\U0001f600" * 5_000,
        "wide \uff37 e\u0301 " * 1_500,
    )
    failures = tuple(
        Failure(f"V{index}", "\u00dcberl\u00e4nge", 3, "QoS", text, new=True)
        for index, text in enumerate(texts)
    )
    return msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures)


def _unknown() -> Event:
    """Return an event of which nothing is known, except that part of a job failed."""
    failed = sample(EventType.JOB_FAILED)
    assert failed.job
    job = msgspec.structs.replace(
        failed.job,
        idx=None,
        timestamp=None,
        operation=None,
        previous_status=None,
        created=None,
        pushed=None,
        completed=None,
        backup=None,
        features=(),
        targets=Targets(),
    )
    unnamed = Failure(None, None, None, None, None, new=False)
    return msgspec.structs.replace(failed, url=None, job=job, failures=(unnamed, unnamed))


def _failures(event_type: EventType) -> tuple[Failure, ...]:
    if event_type is EventType.APPLIANCE_FAILED:
        return tuple(failure for failure in _FAILURES if failure.new)
    return _FAILURES if event_type in _FAILED else ()


def _job(event_type: EventType) -> JobInfo:
    previous, status = _STATUS[event_type]
    finished = status in ("Success", "Failed", "Canceled")
    failed = len(_failures(event_type))
    done = _DONE.get(event_type, _SOME)
    running = 2 if status == "InProgress" else 0
    overdue = event_type is EventType.JOB_OVERDUE
    pushed = "2026-11-23T04:52:30Z" if overdue else "2026-11-23T09:12:30Z"
    running_for = 16_050 if overdue else 450
    return JobInfo(
        id=42,
        idx=42,
        timestamp=1795425000,
        operation="push",
        status=status,
        previous_status=previous,
        created="2026-11-23T04:50:00Z" if overdue else "2026-11-23T09:10:00Z",
        pushed=None if status == "Queued" else pushed,
        completed="2026-11-23T09:19:35Z" if finished else None,
        backup=True,
        error_text=None,
        running_for=running_for if status == "InProgress" else None,
        features=(FeatureRef(3, "qos", "QoS"), FeatureRef(5, "snmp", "SNMP")),
        targets=Targets(site_ids=(7,)),
        counts=Counts(
            total=_ROWS,
            pending=_ROWS - done - running,
            running=running,
            succeeded=done - failed,
            failed=failed,
            appliances=ApplianceCounts(6, failed),
        ),
    )


def _shapes() -> list[Event]:
    """Return a pre-push failure, one without details, one reduced by a route and a size limit, a success that
    left a pair failed, and a job with ids only.
    """
    failed = sample(EventType.JOB_FAILED)
    assert failed.job
    no_rows = Counts(0, 0, 0, 0, 0, ApplianceCounts(0, 0))
    pre_push = msgspec.structs.replace(
        failed.job, error_text="Configuration database is locked by user admin", counts=no_rows
    )
    pending = msgspec.structs.replace(failed.job, counts=no_rows, details_pending=True)
    succeeded = sample(EventType.JOB_SUCCEEDED)
    assert succeeded.job
    one_failed = Counts(_ROWS, 0, 0, _ROWS - 1, 1, ApplianceCounts(6, 1))
    bare = JobInfo(
        id=7,
        idx=None,
        timestamp=None,
        operation=None,
        status="Paused",
        previous_status=None,
        created=None,
        pushed=None,
        completed=None,
        backup=None,
        error_text=None,
        features=(),
        targets=Targets(),
        counts=no_rows,
    )
    return [
        msgspec.structs.replace(failed, job=pre_push, failures=()),
        msgspec.structs.replace(failed, job=pending, failures=()),
        msgspec.structs.replace(
            failed, failures=_FAILURES[:1], failures_outside_route=3, failures_omitted=2, url=None
        ),
        msgspec.structs.replace(
            succeeded,
            job=msgspec.structs.replace(succeeded.job, counts=one_failed),
            failures=(msgspec.structs.replace(_FAILURES[0], new=False),),
        ),
        *(
            msgspec.structs.replace(sample(event_type), job=bare, failures=(), recoveries=(), url=None)
            for event_type in _STATUS
        ),
    ]


def _hostile(event: Event) -> Event:
    job = event.job and msgspec.structs.replace(
        event.job,
        operation=HOSTILE_TEXT,
        status=HOSTILE_TEXT,
        error_text=HOSTILE_TEXT,
        features=(FeatureRef(3, HOSTILE_TEXT, HOSTILE_TEXT),),
        targets=Targets(serials=(HOSTILE_TEXT,)),
    )
    return msgspec.structs.replace(
        event,
        id=f"{event.id[:-1]}h",
        reason=HOSTILE_TEXT,
        job=job,
        failures=tuple(
            Failure(HOSTILE_TEXT, HOSTILE_TEXT, 3, HOSTILE_TEXT, HOSTILE_TEXT, new=failure.new)
            for failure in event.failures
        ),
        recoveries=tuple(
            Recovery(HOSTILE_TEXT, HOSTILE_TEXT, 3, HOSTILE_TEXT, recovery.failed_since, 40)
            for recovery in event.recoveries
        ),
    )
