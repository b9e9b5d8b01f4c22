"""``deliveries``: shows deliveries, and retries them. Works next to a running bridge, which sends them."""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

import msgspec
import typer

from cmc_notify.app.factories import PROBE_EVERY
from cmc_notify.cli.common import for_people, in_short, known_name, opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, ControllerOption, JsonOption, actions
from cmc_notify.cli.output import brief, fail, print_facts, print_json, print_lines, print_table
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.errors import ConfigError
from cmc_notify.ports import DeliveryFilter, LedgerRow
from cmc_notify.settings import Settings
from cmc_notify.store import Store
from cmc_notify.web.documents import delivery_document, no_sink_reason

app = actions("Show deliveries and their attempts, and send them again.")


@app.command("list")
def list_deliveries(
    config: ConfigOption = None,
    state: Annotated[str | None, typer.Option("--state", help=f"{', '.join(DeliveryState)}.")] = None,
    sink: Annotated[str | None, typer.Option("--sink", help="One sink, by its name.")] = None,
    controller: ControllerOption = None,
    job: Annotated[int | None, typer.Option("--job", help="One job's id.")] = None,
    event: Annotated[str | None, typer.Option("--event", help="One event's id.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="The most rows to show, the newest first.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, the newest first."""
    settings, _ = read_settings(config)
    wanted = DeliveryFilter(
        state=None if state is None else DeliveryState(known_name(state, [*DeliveryState], "state")),
        sink=sink,
        controller=controller,
        job_id=job,
        event_id=event,
        limit=limit + 1,
    )

    async def read() -> list[LedgerRow]:
        async with opened_store(settings) as store:
            return list(await store.ledger.deliveries(wanted))

    rows = run_async(read())
    if as_json:
        print_json([msgspec.to_builtins(delivery_document(row)) for row in rows[:limit]])
        return
    print_table(
        ("id", "event", "job", "sink", "state", "attempts", "time", "result"),
        [
            (
                row.delivery.id,
                row.event_type,
                row.job_id,
                row.delivery.sink,
                row.delivery.state.value,
                row.delivery.attempts,
                in_short(row.delivery.finished_at or row.delivery.created_at, settings),
                brief(row.delivery.receipt if row.delivery.state == "sent" else row.delivery.last_error),
            )
            for row in rows[:limit]
        ],
        empty="No deliveries match.",
        below=("id", "result"),
    )
    if len(rows) > limit:
        print_lines("… and older ones; use --limit to show more")


@app.command("show")
def show_delivery(
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="A delivery's id or key.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one delivery."""
    settings, _ = read_settings(config)

    async def read() -> LedgerRow:
        async with opened_store(settings) as store:
            return await _find_delivery(store, delivery_id)

    row = run_async(read())
    if as_json:
        print_json(msgspec.to_builtins(delivery_document(row)))
        return
    _print_delivery(row, settings)


@app.command("retry")
def retry_deliveries(
    delivery_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    config: ConfigOption = None,
    dead: Annotated[bool, typer.Option("--dead", help="Retry all dead letters.")] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Send it as a new message with a new key, not as the same message."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make deliveries due now, with the same key; the running bridge sends them."""
    if bool(delivery_ids) == dead:
        raise ConfigError("write the ids of the deliveries to retry, or --dead for all dead letters")
    settings, _ = read_settings(config)

    async def change() -> tuple[list[LedgerRow], Mapping[str, str]]:
        async with opened_store(settings) as store:
            refusals = await store.ledger.last_errors()  # before the retry, which clears the errors
            ids = [(await _find_delivery(store, each)).delivery.id for each in delivery_ids or ()]
            changed = await store.ledger.retry(None if dead else ids, now=time.time(), again=again)
            return [await _find_delivery(store, each) for each in changed], refusals

    changed, refusals = run_async(change())
    if as_json:
        print_json([msgspec.to_builtins(delivery_document(row)) for row in changed])
    elif not changed and dead:
        print_lines("There are no dead letters.")
    else:
        print_lines(
            *(f"{row.delivery.id}: due now to {row.delivery.sink} as {row.delivery.key}" for row in changed)
        )
        print_lines(*_blocked_notes({row.delivery.sink for row in changed}, refusals))
    if len(changed) < len(set(delivery_ids or ())):
        left = set(delivery_ids or ()) - {
            name for row in changed for name in (row.delivery.id, row.delivery.key)
        }
        fail(
            "error: not changed, since they have no sink (no route matched, silenced or superseded): "
            + ", ".join(sorted(left))
        )


def _blocked_notes(sinks: Collection[str], refusals: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each blocked sink: it sends one message at a time, so a retry can take a while."""
    for sink in sorted(sinks & refusals.keys()):
        yield (
            f"{sink} has not accepted its pending messages ({brief(refusals[sink])}). "
            f"While it is blocked, it is tried every {PROBE_EVERY:g} s, or at the interval of retry.max. "
            f"This is sent after the first try that succeeds."
        )


async def _find_delivery(store: Store, delivery_id: str) -> LedgerRow:
    row = await store.ledger.delivery(delivery_id)
    if row is None:
        fail(f"error: there is no delivery {delivery_id!r}; run cmc-notify deliveries to list them")
    return row


def _print_delivery(row: LedgerRow, settings: Settings) -> None:
    delivery = row.delivery
    job = f", job {row.job_id}" if row.job_id is not None else ""
    silenced = delivery.state is DeliveryState.SILENCED
    print_facts(
        [
            ("Delivery", delivery.id),
            ("Key", delivery.key),
            ("Event", f"{row.event_type} {delivery.event_id} ({row.controller or 'the bridge'}{job})"),
            ("Sink", delivery.sink or f"none: {no_sink_reason(row)}"),
            ("State", delivery.state.value),
            ("Attempts", delivery.attempts),
            ("Created", for_people(delivery.created_at, settings)),
            ("Due", for_people(delivery.due_at, settings) if delivery.state == "pending" else None),
            ("Deadline", for_people(delivery.deadline_at, settings)),
            ("Finished", for_people(delivery.finished_at, settings)),
            ("Silenced by" if silenced else "Last error", delivery.last_error),
            ("Receipt", delivery.receipt),
            ("Parts sent", "\n".join(f"{part}: {got}" for part, got in delivery.parts.items()) or None),
            ("Note", "an attempt may have reached the receiver" if delivery.unclear else None),
        ]
    )
