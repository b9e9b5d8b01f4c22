"""A soak in words and numbers."""

from collections import Counter
from collections.abc import Iterator

from support.soak.judge import SoakResult
from support.soak.plan import Plan
from support.soak.record import Record
from support.soak.repeats import Cause
from support.soak.takeovers import TAKEOVER_WITHIN

_SHOWN = 20
"""Violations that are printed; the others are counted."""


def transitions(record: Record) -> int:
    """How many changes of jobs were seen: each raised the revision of its job in the store."""
    return len({(told.controller, told.job, told.revision) for told in record.told if told.job is not None})


def report(plan: Plan, record: Record, result: SoakResult) -> str:
    """The report; its last line says whether the promise was kept."""
    return "\n".join(_lines(plan, record, result))


def _lines(plan: Plan, record: Record, result: SoakResult) -> Iterator[str]:
    rows = Counter(row.state for row in record.rows)
    replies = Counter[str](arrival.reply or "open" for arrival in record.arrivals)
    yield f"soak: seed {plan.seed}, {record.seconds:.0f} s, {plan.replicas} replicas on {plan.store}"
    yield f"  transitions    {transitions(record)} in {len(record.runs)} runs of jobs"
    yield f"  events         {len(record.told)} {_counts(Counter(told.type for told in record.told))}"
    yield f"  deliveries     {len(record.rows)} {_counts(rows)}"
    yield f"  requests       {len(record.arrivals)} {_counts(replies)}"
    yield f"  kills          {len(record.kills)}, with {_leased(record)} deliveries under lease"
    yield f"  freezes        {len(record.freezes)}"
    yield f"  database stops {len(record.stops)}"
    yield f"  retries        {result.causes[Cause.REFUSED]} after a refusal (429, 500)"
    yield f"  repeats        {sum(result.causes.values()) - result.causes[Cause.REFUSED]}"
    for cause in Cause:
        if cause is not Cause.REFUSED and (times := result.causes[cause]):
            yield f"    {times:5} {cause}"
    yield f"  takeovers      {_takeovers(result)}"
    if record.slowness:
        felt = [factor for _, factor in record.slowness]
        yield f"  machine        {sum(felt) / len(felt):.1f} s for a second's work"
    yield f"  losses         {len(result.losses)}"
    yield f"  out of order   {len(result.order)}"
    yield f"  resolved early {len(result.resolved_early)}"
    violations = result.violations
    yield from (f"  VIOLATION {line}" for line in violations[:_SHOWN])
    if len(violations) > _SHOWN:
        yield f"  and {len(violations) - _SHOWN} more"
    yield (
        f"FAILED: {len(violations)} violations"
        if violations
        else "nothing lost, nothing twice without a cause"
    )


def _counts(counter: Counter[str]) -> str:
    return "(" + ", ".join(f"{name}: {times}" for name, times in sorted(counter.items())) + ")"


def _leased(record: Record) -> int:
    return sum(len(kill.leased or ()) for kill in record.kills)


def _takeovers(result: SoakResult) -> str:
    judged = [one.after for one in result.takeovers if one.judged and one.after is not None]
    others = len(result.takeovers) - len(judged)
    longest = f", the longest {max(judged):.1f} s (limit {TAKEOVER_WITHIN:.0f} s)" if judged else ""
    beside = f"; {others} more where nobody else could" if others else ""
    return f"{len(judged)}{longest}{beside}"
