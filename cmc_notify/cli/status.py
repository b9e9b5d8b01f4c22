"""``status``: prints the state of the whole bridge, read from its store."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cmc_notify.cli.common import ago, in_short, opened_store, read_settings, run_async
from cmc_notify.cli.context_words import context_text
from cmc_notify.cli.options import ConfigOption, JsonOption, single
from cmc_notify.cli.output import brief, print_json, print_lines, print_table
from cmc_notify.core.model import JobState
from cmc_notify.core.silences import Silence
from cmc_notify.leadership import lead_name
from cmc_notify.ports import TicketFilter, TicketRow
from cmc_notify.settings import Settings
from cmc_notify.settings.controller import PollSettings
from cmc_notify.web import LiveController, LiveSink
from cmc_notify.web.documents import (
    controller_document,
    job_document,
    sink_document,
    ticket_row_document,
)
from cmc_notify.web.job_context import JobContext, job_contexts
from cmc_notify.web.overview import ControllerView, Overview, overview
from cmc_notify.web.silence_documents import silence_document

MAX_OPEN_JOBS = 1000
"""The most open jobs that are read; if there are more, the number is not exact."""


STALE_AFTER_INTERVALS = 3
"""Poll intervals (the longer one) without a poll, after which a controller's state is ``stale``."""
SHOWN_TICKETS = 20
"""Open tickets in the table; JSON has all."""
SHOWN_PROBLEMS = 3
"""Jobs that can't be read, for each controller; JSON has all."""


class StatusReport(NamedTuple):
    """The state of the bridge at one moment, from the store."""

    whole: Overview
    jobs: Sequence[tuple[str, JobState]]
    troubles: Mapping[str, str]
    """By sink, why its pending messages were not accepted."""
    states: Mapping[str, str]
    """By controller; ``stale`` if no bridge polls it."""
    running: bool
    tickets: Sequence[TicketRow]
    """The open tickets."""
    silences: Sequence[Silence]
    """The active ones."""
    contexts: Mapping[tuple[str, str], JobContext]
    """The contexts of the open jobs."""


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show controllers, open jobs, open failures and the outbox."""
    settings, _ = read_settings(config)
    report = run_async(_read(settings))
    if as_json:
        print_json(msgspec.to_builtins(_document(report)))
        return
    _print(settings, report)


def _document(report: StatusReport) -> dict[str, object]:
    """Return the report as JSON; /api/v1/status also has what only the running process knows."""
    return {
        "bridge": {"running": report.running},
        "controllers": [
            _without(controller_document(view), "polling", "next_poll") | {"state": report.states[view.name]}
            for view in report.whole.controllers
        ],
        "sinks": [
            _without(sink_document(view), "blocked") | {"last_error": report.troubles.get(view.name)}
            for view in report.whole.sinks
        ],
        "open_jobs": [
            job_document(name, state, report.contexts[name, state.uid]) for name, state in report.jobs
        ],
        "tickets": [ticket_row_document(row) for row in report.tickets],
        "silences": [silence_document(each, time.time()) for each in report.silences],
    }


class _Configured:
    """A StatusSource from the config alone, without a running process."""

    stopping = False

    def __init__(self, settings: Settings, leaders: Mapping[str, str]) -> None:
        self._settings = settings
        self._leaders = leaders

    def controllers(self) -> Sequence[LiveController]:
        return [
            LiveController(name=name, tried=False, leader=self._leaders.get(lead_name(name)))
            for name in self._settings.controllers
        ]

    def sinks(self) -> Sequence[LiveSink]:
        return [LiveSink(name=name, type=sink.type) for name, sink in self._settings.sinks.items()]


async def _read(settings: Settings) -> StatusReport:
    async with opened_store(settings) as store:
        whole = await overview(store.ledger, _Configured(settings, await store.leadership.leaders()))
        polled = {view.name: _is_polled(view, settings) for view in whole.controllers}
        runs = store.bridge_runs()
        jobs = await store.ledger.jobs(open_only=True, limit=MAX_OPEN_JOBS)
        return StatusReport(
            whole=whole,
            jobs=jobs,
            tickets=await store.ledger.tickets(TicketFilter(open_only=True, limit=MAX_OPEN_JOBS)),
            silences=await store.silences.active(now=time.time()),
            contexts=await job_contexts(store.ledger, jobs),
            troubles=await store.ledger.last_errors(),
            states={view.name: view.state if polled[view.name] else "stale" for view in whole.controllers},
            # If several bridges can use the store, their polls show that one is running.
            running=any(
                polled[view.name] and view.meta.last_attempt_at is not None for view in whole.controllers
            )
            if runs is None
            else runs,
        )


def _is_polled(view: ControllerView, settings: Settings) -> bool:
    """Return True if a bridge still polls it, or never has."""
    last, configured = view.meta.last_attempt_at, settings.controllers.get(view.name)
    if last is None:
        return True
    poll = configured.poll if configured else PollSettings()
    return time.time() - last <= STALE_AFTER_INTERVALS * max(poll.interval, poll.idle_interval)


def _without(document: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in keys}


def _print(settings: Settings, report: StatusReport) -> None:
    whole = report.whole
    if not report.running:
        polls = [view.meta.last_poll_at for view in whole.controllers if view.meta.last_poll_at is not None]
        print_lines(f"No bridge is running; last poll {ago(max(polls, default=None))}.", "")
    shared = any(view.live and view.live.leader for view in whole.controllers)
    print_table(
        (
            *("controller", "state", "last poll"),
            *(["polled by"] if shared else []),
            *("open jobs", "open failures", "last error"),
        ),
        [
            (
                view.name if view.live else f"{view.name} (no longer in the config)",
                report.states[view.name],
                ago(view.meta.last_poll_at),
                *([view.live.leader if view.live else None] if shared else []),
                sum(name == view.name for name, _ in report.jobs),
                view.open_failures,
                brief(view.meta.last_error) if view.state != "ok" else None,
            )
            for view in whole.controllers
        ],
        empty="No controller is configured.",
        below=("last error",),
    )
    for view in whole.controllers:
        print_lines(*_unreadable_lines(view))
    for name, state in report.jobs:
        if note := context_text(report.contexts[name, state.uid]):
            print_lines(f"{name}: job {state.job.id}: {note}")
    print_lines("")
    print_table(
        ("sink", "type", "pending", "oldest", "sent", "dead", "last error"),
        [
            (
                view.name,
                view.live.type if view.live else "no longer in the config",
                view.depth.pending,
                in_short(view.depth.oldest_pending_at, settings),
                view.depth.sent,
                view.depth.dead,
                brief(report.troubles.get(view.name)),
            )
            for view in whole.sinks
        ],
        empty="No sink is configured.",
        below=("last error",),
    )
    _print_tickets_and_silences(settings, report)
    if dead := sum(view.depth.dead for view in whole.sinks):
        print_lines(
            "",
            f"{dead} dead letter{'' if dead == 1 else 's'}: cmc-notify deliveries --state dead shows why, "
            "and cmc-notify deliveries retry --dead sends them again.",
        )


def _print_tickets_and_silences(settings: Settings, report: StatusReport) -> None:
    """Print open tickets and active silences."""
    if report.tickets:
        print_lines("")
        print_table(
            ("ticket", "sink", "about", "changed", "link"),
            [
                (
                    brief(row.ticket.label),
                    row.ticket.sink,
                    brief(row.about),
                    in_short(row.changed_at, settings),
                    row.ticket.url,
                )
                for row in report.tickets[:SHOWN_TICKETS]
            ],
            empty="",
            below=("link",),
        )
        if (left := len(report.tickets) - SHOWN_TICKETS) > 0:
            print_lines(f"… and {left:,} more; use --json to see them")
    if report.silences:
        ends = in_short(report.silences[0].ends_at, settings)
        several = len(report.silences) > 1
        words = f"{len(report.silences)} silences are active, the first" if several else "A silence is active"
        print_lines(
            "", f"{words} until {ends}; run cmc-notify silences to see {'them' if several else 'it'}."
        )


def _unreadable_lines(view: ControllerView) -> Iterator[str]:
    """Yield a line for each problem in the controller's data."""
    malformed = view.meta.malformed
    for problem in malformed[:SHOWN_PROBLEMS]:
        yield f"{view.name}: a job can't be read: {brief(problem)}"
    if (left := len(malformed) - SHOWN_PROBLEMS) > 0:
        yield f"{view.name}: … and {left:,} more that can't be read; use --json to see all"
    if unknown := view.meta.unknown_statuses:
        yield f"{view.name}: unknown job statuses: {', '.join(unknown)}"


app = single(status)
