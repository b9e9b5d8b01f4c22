"""Conversion of the domain's objects to columns, and back."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import RowMapping

from cmc_notify.core import events as documents
from cmc_notify.core.delivery import DeliveryState, NewDelivery, Purpose
from cmc_notify.core.model import Pair, Status, TrackedFailure
from cmc_notify.core.text import indexable
from cmc_notify.ports import Delivery, SavedJob

_SHOWN = msgspec.json.Decoder(tuple[int, ...])


def dump(document: object) -> str:
    """Return a document as JSON text."""
    return msgspec.json.encode(document).decode()


def pair_key(pair: Pair) -> str:
    """Return a pair as one comparable text that can be indexed, however long its serial number is."""
    return dump((None if pair.serial is None else indexable(pair.serial), pair.feature_id))


def failure_row(failure: TrackedFailure) -> dict[str, object]:
    """Return the columns of one failure."""
    return {
        "id": failure.id,
        "controller": failure.controller,
        "pair": pair_key(failure.pair),
        "opened_at": failure.opened_at,
        "opened_event": failure.opened_event,
        "job_uid": failure.job_uid,
        "last_job_uid": failure.last_job_uid,
        "closed_at": failure.closed_at,
        "document": dump(failure),
    }


def job_row(controller: str, saved: SavedJob, discovered: int) -> dict[str, object]:
    """Return the light columns of one job; its whole state goes into a separate table."""
    state, job = saved.state, saved.state.job
    return {
        "controller": controller,
        "uid": state.uid,
        "id": job.id,
        "creation_time": job.creation_time,
        "digest": saved.digest,
        "open": state.open,
        "watch_until": state.watch_until,
        "discovered": discovered,
        "order_time": job.order[0],
        "pushed": bool(job.rows) or job.push_time is not None or job.status == Status.SUCCESS,
    }


def event_row(event: documents.Event, origin: tuple[str, int] | None, now: float) -> dict[str, object]:
    """Return the columns of one event; ``origin`` is its job's uid and revision, None without a job."""
    uid, revision = origin or (None, None)
    return {
        "id": event.id,
        "controller": event.controller,
        "job_uid": uid,
        "job_id": event.job.id if event.job else None,
        "revision": revision,
        "type": event.type.value,
        "time": event.time,
        "created_at": now,
        "document": documents.encode(event).decode(),
    }


def delivery_row(new: NewDelivery, controller: str | None, now: float) -> dict[str, object]:
    """Return the columns of a new delivery; one without a sink is finished at once: unrouted or silenced.

    ``controller`` is its event's.
    """
    routed = bool(new.sink)
    nowhere = DeliveryState.SILENCED if new.silenced_by else DeliveryState.UNROUTED
    return {
        "id": new.id,
        "key": new.id,
        "event_id": new.event_id,
        "sink": new.sink,
        "subject": new.subject,
        "ordering_key": new.ordering_key,
        "state": (DeliveryState.PENDING if routed else nowhere).value,
        "last_error": new.silenced_by,
        "shown": None if new.shown is None else dump(new.shown),
        "purpose": new.purpose.value,
        "attempts": 0,
        "created_at": now,
        "due_at": new.due_at,
        "deadline_at": new.deadline_at,
        "patience": max(0.0, new.deadline_at - now),
        "unclear": False,
        "finished_at": None if routed else now,
        "controller": controller,
    }


def wait_rows(new: Sequence[NewDelivery]) -> list[dict[str, object]]:
    """Return the rows that say which deliveries each of these waits for."""
    return [
        {"delivery_id": delivery.id, "waits_for": other}
        for delivery in new
        for other in dict.fromkeys(delivery.waits_for)
    ]


def shown_of(column: str | None) -> tuple[int, ...] | None:
    """Return the indices that a delivery shows; None for all."""
    return None if column is None else _SHOWN.decode(column)


def delivery_of(row: RowMapping, parts: Mapping[str, str]) -> Delivery:
    """Return a row of the table ``deliveries`` as a domain object."""
    return Delivery(
        id=row["id"],
        key=row["key"],
        event_id=row["event_id"],
        sink=row["sink"],
        subject=row["subject"],
        ordering_key=row["ordering_key"],
        state=DeliveryState(row["state"]),
        shown=shown_of(row["shown"]),
        attempts=row["attempts"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        deadline_at=row["deadline_at"],
        leased_until=row["leased_until"],
        finished_at=row["finished_at"],
        last_error=row["last_error"],
        unclear=row["unclear"],
        receipt=row["receipt"],
        parts=dict(parts),
        purpose=Purpose(row["purpose"]),
    )
