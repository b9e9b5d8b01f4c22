"""The JSON documents of the HTTP API. Times are RFC 3339, UTC; null if unknown or not yet set."""

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType, Targets, counts, rfc3339
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports import Acknowledgement, ChatAction, LedgerRow, Ticket, TicketRow
from cmc_notify.web.job_context import NO_CONTEXT, JobContext
from cmc_notify.web.overview import ControllerView, SinkView

Document = dict[str, object]


def controller_document(view: ControllerView) -> Document:
    """Return one controller of ``/api/v1/status``."""
    meta, live = view.meta, view.live
    return {
        "name": view.name,
        "state": view.state,
        "configured": live is not None,
        "polling": live.polling if live else False,
        "leader": live.leader if live else None,
        "next_poll": rfc3339(live.next_poll_at) if live else None,
        "last_poll": rfc3339(meta.last_poll_at),
        "last_attempt": rfc3339(meta.last_attempt_at),
        "last_error": meta.last_error,
        "failed_polls": meta.failed_polls,
        "failing_since": rfc3339(meta.failing_since),
        "unreachable_since": rfc3339(meta.unreachable_since),
        "unauthorized_since": rfc3339(meta.unauthorized_since),
        "last_full_sync": rfc3339(meta.last_full_sync),
        "filters": meta.filters,
        "malformed_jobs": meta.malformed,
        "unknown_statuses": meta.unknown_statuses,
        "open_failures": view.open_failures,
    }


def sink_document(view: SinkView) -> Document:
    """Return one sink of ``/api/v1/status``."""
    return {
        "name": view.name,
        "type": view.live.type if view.live else None,
        "configured": view.live is not None,
        "blocked": view.live.blocked if view.live else None,
        "circuit_open": view.live.circuit_open if view.live else None,
        "throttled": view.live.throttled if view.live else None,
        "pending": view.depth.pending,
        "sent": view.depth.sent,
        "dead": view.depth.dead,
        "oldest_pending": rfc3339(view.depth.oldest_pending_at),
    }


def job_document(controller: str, state: JobState, context: JobContext = NO_CONTEXT) -> Document:
    """Return one job as last seen; ``counts`` counts detail rows (serial x feature)."""
    job = state.job
    return {
        "controller": controller,
        "uid": state.uid,
        "id": job.id,
        "idx": job.idx,
        "operation": job.operation,
        "status": job.status,
        "open": state.open,
        "settling": state.settle_until is not None,
        "vanished": state.vanished,
        "created": rfc3339(job.creation_time),
        "pushed": rfc3339(job.push_time),
        "completed": rfc3339(job.completion_time),
        "error_text": job.error_text,
        "feature_ids": job.feature_ids,
        "targets": Targets(job.site_ids, job.site_type_ids, job.serials),
        "counts": counts(job),
        "tickets": [ticket_document(ticket) for ticket in context.tickets],
        "acknowledged": acknowledgement_document(context.acknowledged),
    }


def failure_document(failure: TrackedFailure, context: JobContext = NO_CONTEXT) -> Document:
    """Return one open failure, with the sinks that were notified and the silences that match it now."""
    return {
        "id": failure.id,
        "controller": failure.controller,
        "serial": failure.serial,
        "appliance": failure.appliance,
        "feature_id": failure.feature_id,
        "feature": failure.feature,
        "error_text": failure.error_text,
        "opened": rfc3339(failure.opened_at),
        "opened_event": failure.opened_event,
        "job_id": failure.job_id,
        "sinks": sorted(failure.notified),
        "tickets": [ticket_document(ticket) for ticket in context.tickets],
        "acknowledged": acknowledgement_document(context.acknowledged),
        "silenced_by": context.silenced_by,
    }


def ticket_document(ticket: Ticket) -> Document:
    """Return one ticket as its sink recorded it; ``url`` comes from the receiver and can be any text."""
    return {
        "sink": ticket.sink,
        "subject": ticket.subject,
        "label": ticket.label,
        "url": ticket.url,
        "open": ticket.open,
    }


def ticket_row_document(row: TicketRow) -> Document:
    """Return one ticket of ``/api/v1/status``."""
    about = {"controller": row.controller, "job_id": row.job_id, "changed": rfc3339(row.changed_at)}
    return ticket_document(row.ticket) | about


def acknowledgement_document(found: Acknowledgement | None) -> Document | None:
    """Return who acknowledged it, and when; None if nobody did."""
    return None if found is None else {"by": found.by, "at": rfc3339(found.at)}


def no_sink_reason(row: LedgerRow) -> str:
    """Return why a delivery without a sink has none."""
    if row.delivery.state is DeliveryState.SILENCED:
        return "silenced"
    recovery = row.event_type == EventType.APPLIANCE_RECOVERED
    return "nobody was notified of the failure" if recovery else "no route matched"


def delivery_document(row: LedgerRow) -> Document:
    """Return one delivery: event, sink, times, attempts, receipt and last error."""
    delivery = row.delivery
    return {
        "id": delivery.id,
        "key": delivery.key,
        "state": delivery.state,
        "sink": delivery.sink or None,
        "subject": delivery.subject,
        "event_id": delivery.event_id,
        "event_type": row.event_type,
        "event_time": row.event_time,
        "controller": row.controller,
        "job_id": row.job_id,
        "attempts": delivery.attempts,
        "created": rfc3339(delivery.created_at),
        "due": rfc3339(delivery.due_at) if delivery.state == "pending" else None,
        "deadline": rfc3339(delivery.deadline_at),
        "finished": rfc3339(delivery.finished_at),
        "last_error": delivery.last_error,
        "unclear": delivery.unclear,
        "receipt": delivery.receipt,
        "parts": delivery.parts,
    }


def action_document(action: ChatAction) -> Document:
    """Return one action from chat, refused ones too."""
    return {
        "id": action.id,
        "time": rfc3339(action.at),
        "sink": action.sink or None,
        "via": action.via,
        "address": action.address,
        "action": action.action,
        "outcome": action.outcome,
        "who": action.who,
        "name": action.name,
        "subject": action.subject,
        "detail": action.detail,
        "reply": action.answer,
    }
