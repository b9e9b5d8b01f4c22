"""Replies to ``/cmc``: one message that only the person who asked sees, with outside text escaped.

A command only reads the store: it sends no request to a controller and changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from cmc_notify.chatops.payloads import Command
from cmc_notify.chatops.replies import escaped_line
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports import ControllerMeta, Ledger
from cmc_notify.sinks.slack.layout import lay_out

HELP = """What /cmc can show
*/cmc* or */cmc status*: controllers, open jobs, open failures, sinks in trouble
*/cmc failures* [controller]: failures that are open now, the most frequent errors first
*/cmc help*: this text"""
_MAX_JOBS = 10
_MAX_GROUPS = 40
_MAX_NAMES = 12
_MAX_FAILURES = 20_000
"""The most that one reply reads."""


class CommandContext(Struct, frozen=True):
    """Facts that only the running process knows; read again for each command."""

    controllers: Sequence[str]
    """Names of the configured controllers, in the order of the config."""
    troubles: Callable[[], Mapping[str, str]]
    """By sink, the reason why it is blocked, throttled or its circuit is open."""
    page_url: str | None
    """Address of the dashboard for people; None if ``http.external_url`` is not set."""


async def reply_to(command: Command, ledger: Ledger, context: CommandContext) -> Mapping[str, Any]:
    """Return the message that replies to the command. Raises StoreUnavailable."""
    match command.words:
        case () | ("status",):
            text = "\n".join([line async for line in _status(ledger, context)])
        case ("failures",):
            text = await _failures(ledger, context, None)
        case ("failures", controller) if controller in context.controllers:
            text = await _failures(ledger, context, controller)
        case ("failures", controller):
            text = (
                f"There is no controller {escaped_line(controller)}\nThere are {_names(context.controllers)}"
            )
        case ("help",):
            text = HELP
        case words:
            text = f"/cmc does not know this command: {escaped_line(' '.join(words))}\n{HELP}"
    return ephemeral_message(text, context)


def ephemeral_message(text: str, context: CommandContext) -> Mapping[str, Any]:
    """Return a message that one person sees; the first line of the markup is the headline."""
    where = (
        f"<{context.page_url}|The dashboard> shows all."
        if context.page_url
        else "`cmc-notify failures` shows all."
    )
    laid = lay_out(text, most=1, notice=f"_This is not all: the rest does not fit here._ {where}")
    return {"response_type": "ephemeral", **laid.messages[0]}


async def _status(ledger: Ledger, context: CommandContext) -> Any:
    known, failed = await ledger.snapshots(), await ledger.count_failures()
    jobs = await ledger.jobs(open_only=True, limit=_MAX_JOBS + 1)
    depths = {depth.sink: depth for depth in await ledger.depths() if depth.sink}
    total = sum(failed.values())
    yield f"{_count(total, 'open failure')}, {_many(jobs, 'open job')}"
    for name in context.controllers:
        state = _state(known.get(name, ControllerMeta()))
        yield f"• *{name}*: {state}, {_count(failed.get(name, 0), 'open failure')}"
    for controller, job in jobs[:_MAX_JOBS]:
        yield f"• {controller}: {_job(job)}"
    if len(jobs) > _MAX_JOBS:
        yield "• … and more open jobs"
    troubles = context.troubles()
    for sink, reason in troubles.items():
        yield f"• sink *{sink}* is in trouble: {escaped_line(reason)}"
    for sink, depth in depths.items():
        if depth.dead:
            yield f"• sink *{sink}*: {_count(depth.dead, 'dead letter')}"


async def _failures(ledger: Ledger, context: CommandContext, controller: str | None) -> str:
    every = await ledger.count_failures()
    total = sum(every.values()) if controller is None else every.get(controller, 0)
    found = await ledger.failures(controller=controller, limit=_MAX_FAILURES)
    where = f" at {controller}" if controller else ""
    if not total:
        return f"No open failures{where}"
    lines = [f"{_count(total, 'open failure')}{where}", *_grouped_lines(found)]
    if context.page_url:
        lines.append(f"<{context.page_url}|Show all>")
    return "\n".join(lines)


def _grouped_lines(found: Sequence[TrackedFailure]) -> Iterator[str]:
    """Yield one line for each (controller, feature, error), the one with the most appliances first."""
    groups: dict[tuple[str, str | None, str | None], list[TrackedFailure]] = {}
    for failure in found:
        groups.setdefault((failure.controller, failure.feature, failure.error_text), []).append(failure)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for (controller, feature, error), members in ordered[:_MAX_GROUPS]:
        names = _names([each.appliance or each.serial or "an unnamed appliance" for each in members])
        what = escaped_line(feature or "unnamed feature")
        where = _count(len(members), "appliance")
        yield f"• *{what} failed on {where}* ({controller}): {escaped_line(_short(error))}\n   {names}"
    if (left := len(ordered) - _MAX_GROUPS) > 0:
        yield f"• … and {_count(left, 'other error')}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(escaped_line(name) for name in names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES} more"


def _short(error: str | None) -> str:
    text = error or "no error text"
    return text if len(text) <= 200 else f"{text[:200]}…"  # noqa: PLR2004  one or two lines on a phone


def _job(state: JobState) -> str:
    job = state.job
    failed = len(job.failed_pairs())
    return f"job {job.id} {escaped_line(job.status)}" + (f", {failed} failed" if failed else "")


def _state(meta: ControllerMeta) -> str:
    """Return the state in the same words as the dashboard."""
    if meta.unauthorized_since is not None:
        return "credentials refused"
    if meta.unreachable_since is not None:
        return f"unreachable ({escaped_line(_short(meta.last_error))})"
    if meta.failed_polls:
        return "polls fail"
    return "not polled yet" if meta.last_poll_at is None else "ok"


def _many(found: Sequence[object], what: str) -> str:
    return f"more than {_MAX_JOBS} {what}s" if len(found) > _MAX_JOBS else _count(len(found), what)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
