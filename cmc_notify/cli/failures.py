"""``failures``: lists open failures, and closes one by hand, for example of a removed appliance."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import typer

from cmc_notify.cli.common import for_people, opened_store, read_settings, run_async
from cmc_notify.cli.context_words import context_text
from cmc_notify.cli.options import ConfigOption, ControllerOption, JsonOption, actions
from cmc_notify.cli.output import brief, fail, print_json, print_lines, print_table
from cmc_notify.core.model import TrackedFailure
from cmc_notify.ports import Ticket, TicketFilter
from cmc_notify.settings import Settings
from cmc_notify.store import Store
from cmc_notify.web.documents import failure_document
from cmc_notify.web.job_context import NO_CONTEXT, JobContext, failure_contexts

app = actions("Show open failures, and close one by hand.")
SHOWN = 50
"""Failures in a table without ``--limit``; JSON has all."""
_ALL = 1_000_000


@app.command("list")
def list_failures(
    config: ConfigOption = None,
    controller: ControllerOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="The most rows to show, the oldest first. Default: 50, with --json all."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List open failures, the oldest first. Use KEY with close. --json has the complete error texts."""
    settings, _ = read_settings(config)

    shown = limit or (_ALL if as_json else SHOWN)

    async def read() -> tuple[Sequence[TrackedFailure], Mapping[str, JobContext], int]:
        async with opened_store(settings) as store:
            now = time.time()
            counts = await store.ledger.count_failures()
            number = sum(counts.values()) if controller is None else counts.get(controller, 0)
            found = await store.ledger.failures(controller=controller, limit=shown)
            silences = await store.silences.active(now=now)
            return found, await failure_contexts(store.ledger, silences, found, now=now), number

    failures, contexts, number = run_async(read())
    if as_json:
        print_json([{"key": _key(each), **_builtins(each, contexts[each.id])} for each in failures])
        return
    notes = {each.id: context_text(contexts[each.id]) for each in failures}
    marked = any(notes.values())
    print_table(
        ("key", "appliance", "feature", "since", "job", *(["note"] if marked else []), "error"),
        [
            (
                _key(each),
                each.appliance if each.scope is None else "none: not started",
                each.feature,
                for_people(each.opened_at, settings),
                each.job_id,
                *([notes[each.id]] if marked else []),
                brief(each.error_text),
            )
            for each in failures
        ],
        empty="No open failures.",
        below=("note", "error"),
    )
    if (left := number - len(failures)) > 0:
        print_lines(f"… and {left:,} more; use --limit to show them")


@app.command("close")
def close_failure(
    key: Annotated[str, typer.Argument(help="controller/serial/feature id, or the failure's id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a failure by hand.

    Nobody is notified, and its tickets stay open. The command lists the tickets that you must close yourself.
    If the appliance fails again, that is a new failure.
    """
    settings, _ = read_settings(config)
    closed, left = run_async(_close(settings, key))
    if as_json:
        print_json({"key": _key(closed), **_builtins(closed)})
        return
    where = closed.appliance or closed.serial or "unnamed appliance"
    print_lines(
        f"closed: {closed.feature or 'unnamed feature'} on {where} ({closed.controller}, job {closed.job_id})"
    )
    if left:
        links = "".join(
            f"\n  {ticket.sink}: {brief(ticket.label)} {ticket.url or ''}".rstrip() for ticket in left
        )
        print_lines(f"close these tickets yourself, the bridge will not close them:{links}")


async def _close(settings: Settings, key: str) -> tuple[TrackedFailure, list[Ticket]]:
    """Close the failure; return it, and its open tickets that no other failure will close."""
    async with opened_store(settings) as store:
        failure = await _find_failure(store, key)
        if not await store.ledger.close_failure(failure.id, now=time.time()):
            fail(f"error: {key} was closed a moment ago")
        others = await store.ledger.failures(controller=failure.controller, limit=_ALL)
        left = _ticket_keys(failure).difference(*map(_ticket_keys, others))
        wanted = TicketFilter(subjects={subject for _, subject in left}, open_only=True)
        rows = await store.ledger.tickets(wanted) if left else ()
        return failure, [row.ticket for row in rows if (row.ticket.sink, row.ticket.subject) in left]


def _ticket_keys(failure: TrackedFailure) -> set[tuple[str, str]]:
    """Return sink and subject of each of its tickets."""
    return {(sink, subject) for sink, subjects in failure.tickets.items() for subject in subjects}


async def _find_failure(store: Store, key: str) -> TrackedFailure:
    failures = await store.ledger.failures(limit=_ALL)
    found = next((each for each in failures if key in (each.id, _key(each))), None)
    if found is None:
        fail(f"error: there is no open failure {key!r}; run cmc-notify failures to list them with their keys")
    return found


def _key(failure: TrackedFailure) -> str:
    """Return ``controller/serial/feature id``, or the failure's id if a part is unknown."""
    if not failure.pair.named:
        return failure.id
    return f"{failure.controller}/{failure.serial}/{failure.feature_id}"


def _builtins(failure: TrackedFailure, context: JobContext = NO_CONTEXT) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(failure_document(failure, context))
    return document
