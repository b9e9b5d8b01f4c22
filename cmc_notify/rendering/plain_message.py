"""The plain message that is sent when a template fails: without a template, with every text in it."""

from collections.abc import Iterator

import msgspec

from cmc_notify.core.events import Event, JobInfo
from cmc_notify.core.grouping import group_failures, group_recoveries
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Message, SizeLimits
from cmc_notify.rendering.context import BRIEF, brief_groups
from cmc_notify.rendering.filters import listing, oneline, plural, shorten
from cmc_notify.rendering.formats import Format


def plain_message(
    message: Message,
    form: Format,
    error: TemplateError,
    *,
    brief: bool = False,
    size_limits: SizeLimits | None = None,
) -> str:
    """Return the event in the given format, with the template's error at the end."""
    note = f"This plain message replaces a template that failed: {error}"
    headline = ("[TEST] " if message.is_test else "") + _headline(message.event)
    if form.name == "subject":
        return form.finish(form.escape(f"[cmc-notify] {headline}"))
    if form.name == "json":
        document = msgspec.to_builtins(message.event)
        return msgspec.json.encode({**document, "headline": headline, "template_error": note}).decode()
    body = form.escape("\n".join(_lines(message, form, brief=brief, size_limits=size_limits)) + f"\n\n{note}")
    first = form.escape(headline)
    if form.name == "html":
        return (
            '<!DOCTYPE html><html><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark"></head>'
            '<body style="font-family:sans-serif;overflow-wrap:anywhere">'
            f'<h1 style="font-size:20px">{first}</h1><div style="white-space:pre-wrap">{body}</div>'
            "</body></html>\n"
        )
    if form.name == "mrkdwn":
        return f"{first}\n```\n{body}\n```\n"
    return f"{first}\n\n{body}\n"


def _headline(event: Event) -> str:
    """Return one line with controller, event type, job or sink, and number of failures."""
    about = f"job {event.job.id}" if event.job else event.sink and f"sink {event.sink}"
    count = plural(len(event.failures), "failure") if event.failures else None
    return ": ".join(oneline(part) for part in (event.controller, event.type, about, count) if part)


def _lines(message: Message, form: Format, *, brief: bool, size_limits: SizeLimits | None) -> Iterator[str]:
    event = message.event
    if message.unclear:
        yield "This may be a repeat: an earlier attempt may have arrived."
    for label, value in (("Time", event.time), ("Since", event.since), ("Reason", event.reason)):
        if value:
            yield f"{label}: {value}"
    if event.job:
        yield from _job(event.job, size_limits or (BRIEF if brief else None))
    yield from _pairs(event, form, brief=brief, size_limits=size_limits)
    if event.failures_outside_route:
        yield f"\n{event.failures_outside_route:,} more outside this route or silenced."
    if event.failures_omitted:
        yield f"\n{plural(event.failures_omitted, 'more failure')} did not fit into this message."
    if event.url:
        yield f"\nEverything: {event.url}"


def _job(job: JobInfo, size_limits: SizeLimits | None) -> Iterator[str]:
    yield f"Status: {job.status}"
    if job.error_text:
        text = shorten(job.error_text, size_limits.error if size_limits else None)
        yield f"\nThe push failed before it reached any appliance:\n{text}"
    if job.details_pending:
        yield "The controller had not reported every result yet."


def _pairs(event: Event, form: Format, *, brief: bool, size_limits: SizeLimits | None) -> Iterator[str]:
    every = group_failures(event.failures)
    recovered = group_recoveries(event.recoveries)
    groups = brief_groups(every, form) if brief else every
    if size_limits:
        groups, recovered = every[: size_limits.groups], recovered[: size_limits.groups]
    bounds = size_limits or (BRIEF if brief else None)
    names = bounds.names if bounds else None
    for group in groups:
        text = shorten(group.error_text or "no error text given", bounds.text if bounds else None)
        yield f"\n{group.feature or 'unnamed feature'} failed on {listing(group.members, names)}:\n{text}"
    if len(groups) < len(every):
        where = "did not fit into this message" if size_limits else "in the attached list"
        yield f"\n{plural(len(every) - len(groups), 'more error text')} {where}."
    for recovery in recovered:
        yield f"\n{recovery.feature or 'unnamed feature'} works again on {listing(recovery.members, names)}."
