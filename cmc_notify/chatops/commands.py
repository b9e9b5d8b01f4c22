"""What ``/cmc`` answers: to the one who asks alone, within one message, outside text escaped.

It only reads the store: no controller is asked, and nothing changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from cmc_notify.chatops.payloads import Command
from cmc_notify.chatops.replies import quoted
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports import ControllerMeta, Ledger
from cmc_notify.sinks.slack.layout import lay_out

HELP = """What /cmc can tell
*/cmc* or */cmc status*: controllers, open jobs, open failures, sinks in trouble
*/cmc failures* [controller]: what is failed now, the most frequent errors first
*/cmc help*: this"""
_MOST_JOBS = 10
_MOST_GROUPS = 40
_MOST_NAMES = 12
_MOST_FAILURES = 20_000
"""Read for one answer."""


class Present(Struct, frozen=True):
    """What only the running process knows, asked anew for each command."""

    controllers: Sequence[str]
    """The configured ones, in their order."""
    troubles: Callable[[], Mapping[str, str]]
    """By sink, why it is held or rests."""
    page: str | None
    """The first page's address for people; None where nobody was told one."""


async def answer(command: Command, ledger: Ledger, present: Present) -> Mapping[str, Any]:
    """The message. Raises StoreUnavailable."""
    match command.words:
        case () | ("status",):
            text = "\n".join([line async for line in _status(ledger, present)])
        case ("failures",):
            text = await _failures(ledger, present, None)
        case ("failures", controller) if controller in present.controllers:
            text = await _failures(ledger, present, controller)
        case ("failures", controller):
            text = f"There is no controller {quoted(controller)}\nThere are {_names(present.controllers)}"
        case ("help",):
            text = HELP
        case words:
            text = f"/cmc does not know: {quoted(' '.join(words))}\n{HELP}"
    return ephemeral(text, present)


def ephemeral(text: str, present: Present) -> Mapping[str, Any]:
    """Markup (its first line is the headline) as an answer that one person sees."""
    where = f"<{present.page}|The page> has it all." if present.page else "`cmc-notify failures` has it all."
    laid = lay_out(text, most=1, notice=f"_Not all of it fits here._ {where}")
    return {"response_type": "ephemeral", **laid.messages[0]}


async def _status(ledger: Ledger, present: Present) -> Any:
    known, failed = await ledger.snapshots(), await ledger.count_incidents()
    jobs = await ledger.jobs(open_only=True, limit=_MOST_JOBS + 1)
    depths = {depth.sink: depth for depth in await ledger.depths() if depth.sink}
    total = sum(failed.values())
    yield f"{_count(total, 'open failure')}, {_many(jobs, 'open job')}"
    for name in present.controllers:
        state = _state(known.get(name, ControllerMeta()))
        yield f"• *{name}*: {state}, {_count(failed.get(name, 0), 'open failure')}"
    for controller, job in jobs[:_MOST_JOBS]:
        yield f"• {controller}: {_job(job)}"
    if len(jobs) > _MOST_JOBS:
        yield "• … and more open jobs"
    troubles = present.troubles()
    for sink, reason in troubles.items():
        yield f"• sink *{sink}* is in trouble: {quoted(reason)}"
    for sink, depth in depths.items():
        if depth.dead:
            yield f"• sink *{sink}*: {_count(depth.dead, 'dead letter')}"


async def _failures(ledger: Ledger, present: Present, controller: str | None) -> str:
    every = await ledger.count_incidents()
    total = sum(every.values()) if controller is None else every.get(controller, 0)
    found = await ledger.incidents(controller=controller, limit=_MOST_FAILURES)
    where = f" at {controller}" if controller else ""
    if not total:
        return f"Nothing is failed{where}"
    lines = [f"{_count(total, 'open failure')}{where}", *_grouped(found)]
    if present.page:
        lines.append(f"<{present.page}|All of them>")
    return "\n".join(lines)


def _grouped(found: Sequence[TrackedFailure]) -> Iterator[str]:
    """One line for each (controller, feature, error), those that hit most appliances first."""
    groups: dict[tuple[str, str | None, str | None], list[TrackedFailure]] = {}
    for incident in found:
        groups.setdefault((incident.controller, incident.feature, incident.error_text), []).append(incident)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for (controller, feature, error), members in ordered[:_MOST_GROUPS]:
        names = _names([each.appliance or each.serial or "an unnamed appliance" for each in members])
        what = quoted(feature or "unnamed feature")
        where = _count(len(members), "appliance")
        yield f"• *{what} failed on {where}* ({controller}): {quoted(_short(error))}\n   {names}"
    if (left := len(ordered) - _MOST_GROUPS) > 0:
        yield f"• … and {_count(left, 'other error')}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _short(error: str | None) -> str:
    text = error or "no error text"
    return text if len(text) <= 200 else f"{text[:200]}…"  # noqa: PLR2004  a line on a phone, or two


def _job(state: JobState) -> str:
    job = state.job
    failed = len(job.failed_pairs())
    return f"job {job.id} {quoted(job.status)}" + (f", {failed} failed" if failed else "")


def _state(meta: ControllerMeta) -> str:
    """The same words as on the first page."""
    if meta.unauthorized_since is not None:
        return "refuses our credentials"
    if meta.unreachable_since is not None:
        return f"unreachable ({quoted(_short(meta.last_error))})"
    if meta.failed_polls:
        return "polls fail"
    return "not polled yet" if meta.last_poll_at is None else "ok"


def _many(found: Sequence[object], what: str) -> str:
    return f"more than {_MOST_JOBS} {what}s" if len(found) > _MOST_JOBS else _count(len(found), what)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
