"""The JSON documents of the HTTP API. Times are RFC 3339, UTC; null where unknown or not yet."""

from cmc_notify.core.events import Targets, counts, rfc3339
from cmc_notify.core.model import Incident, JobState
from cmc_notify.ports import ChatAction, LedgerRow
from cmc_notify.web.overview import ControllerView, SinkView

Document = dict[str, object]


def controller_document(view: ControllerView) -> Document:
    """One controller of ``/api/v1/status``."""
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
    """One sink of ``/api/v1/status``."""
    return {
        "name": view.name,
        "type": view.live.type if view.live else None,
        "configured": view.live is not None,
        "blocked": view.live.blocked if view.live else None,
        "resting": view.live.resting if view.live else None,
        "pending": view.depth.pending,
        "sent": view.depth.sent,
        "dead": view.depth.dead,
        "oldest_pending": rfc3339(view.depth.oldest_pending_at),
    }


def job_document(controller: str, state: JobState) -> Document:
    """One job as last seen; ``counts`` counts detail rows (serial x feature)."""
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
    }


def failure_document(incident: Incident) -> Document:
    """One open failure, with the sinks that were told."""
    return {
        "id": incident.id,
        "controller": incident.controller,
        "serial": incident.serial,
        "appliance": incident.appliance,
        "feature_id": incident.feature_id,
        "feature": incident.feature,
        "error_text": incident.error_text,
        "opened": rfc3339(incident.opened_at),
        "opened_event": incident.opened_event,
        "job_id": incident.job_id,
        "sinks": sorted(incident.audience),
    }


def delivery_document(row: LedgerRow) -> Document:
    """One delivery: what went where, when, how often tried, what came back."""
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
    """One thing that somebody did from chat, or was refused."""
    return {
        "id": action.id,
        "time": rfc3339(action.at),
        "sink": action.sink,
        "via": action.via,
        "action": action.action,
        "outcome": action.outcome,
        "who": action.who,
        "name": action.name,
        "subject": action.subject,
        "detail": action.detail,
        "answer": action.answer,
    }
