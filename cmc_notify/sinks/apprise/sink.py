"""The apprise sink: the outcome of a message, service by service.

A service that has accepted the message is recorded as a part and does not get it again. The delivery is
retried for the others. Refused credentials block the sink only if no service has accepted the message;
otherwise the other services are still notified.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.net import safe
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.apprise.addresses import make_service, part_name, secrets_of
from cmc_notify.sinks.apprise.log_capture import captured_log, outcome_from_log
from cmc_notify.sinks.apprise.message_text import FittedMessage, fit_message
from cmc_notify.sinks.apprise.settings import AppriseSettings
from cmc_notify.sinks.daemon_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from apprise import NotifyBase

_SUCCESS = ("job.succeeded", "appliance.recovered", "controller.recovered", "sink.recovered")
_KINDS = {"info": "info", "warning": "warning", "error": "failure"}


class AppriseSink:
    """Notifies each service in its own thread. Safe to use from several tasks."""

    def __init__(self, name: str, settings: AppriseSettings, renderer: Renderer) -> None:
        self._name = name
        self._timeout = settings.timeout
        self._urls = {part_name(url): url for url in settings.chosen}
        self._renderer = renderer

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Make one attempt at each service that has not accepted the message yet, all at the same time."""
        waiting = [part for part in self._urls if part not in message.parts]
        tasks = [asyncio.create_task(self._send_to(part, message)) for part in waiting]
        outcomes: dict[str, SendOutcome] = {}
        try:
            for response in asyncio.as_completed(tasks):
                part, outcome = await response
                if isinstance(outcome, Sent):
                    await record(part, outcome.receipt or "accepted")
                outcomes[part] = outcome
        finally:
            for task in tasks:
                task.cancel()
        return _combined_outcome(outcomes, sent_before=bool(message.parts))

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the message of each service, by its kind."""
        return [document for part in self._urls for document in self._shown(part, message)]

    async def probe(self) -> SendOutcome:
        """Return Sent: the URLs were checked with the config, and Apprise can only send."""
        return Sent("Apprise can't test a service without notifying it; the URLs are well-formed")

    async def close(self) -> None:
        """Do nothing: no connection stays open."""

    async def _send_to(self, part: str, message: Message) -> tuple[str, SendOutcome]:
        try:
            async with asyncio.timeout(self._timeout):
                outcome = await run_in_daemon_thread(lambda: self._attempt(part, message), f"apprise {part}")
        except TimeoutError:
            outcome = Unclear(f"{part.partition(':')[0]}: no response within {self._timeout:g} s")
        return part, outcome

    def _attempt(self, part: str, message: Message) -> SendOutcome:
        """Send the message; blocks until the service has responded. Apprise's own retries are bypassed."""
        url = self._urls[part]
        service = make_service(url, timeout=self._timeout)
        secrets = secrets_of(url, service)
        label = str(service.service_name)
        fitted = fit_message(message, self._renderer, service)
        with captured_log() as log:
            try:
                taken = _notify(service, fitted, _kind(message))
            except Exception as error:  # noqa: BLE001  a hundred plugins can raise anything
                return Unclear(safe(f"{label}: Apprise failed: {type(error).__name__}: {error}", secrets))
        if taken:
            return Sent(label)
        return _named(label, outcome_from_log(log, secrets))

    def _shown(self, part: str, message: Message) -> Sequence[PreviewDocument]:
        service = make_service(self._urls[part], timeout=self._timeout)
        fitted = fit_message(message, self._renderer, service)
        name = part.replace(":", "-")
        head = {"service": str(service.service_name), "type": _kind(message), "title": fitted.title}
        if fitted.name:
            head["attached"] = fitted.name
        lines = json.dumps(head, ensure_ascii=False, indent=2)
        documents = [PreviewDocument(f"{name}.txt", f"{lines}\n{fitted.body}\n")]
        if fitted.file is not None:
            documents.append(PreviewDocument(f"{name}-{fitted.name}", fitted.file.decode()))
        return documents


def _notify(service: "NotifyBase", fitted: FittedMessage, kind: str) -> bool:
    from apprise import AppriseAttachment, NotifyFormat, OverflowMode  # noqa: PLC0415  an optional extra
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415  an optional extra

    attached = None
    if fitted.file is not None:
        attached = AppriseAttachment(AttachMemory(fitted.file, name=fitted.name, mimetype="text/plain"))
    # The object's own method: Apprise.notify() would obey retry=, wait= and optional= of the URL.
    return bool(
        service.notify(
            body=fitted.body,
            title=fitted.title,
            notify_type=kind,
            overflow=OverflowMode.UPSTREAM,
            attach=attached,
            body_format=NotifyFormat.TEXT,
        )
    )


def _kind(message: Message) -> str:
    """Return Apprise's type for the severity."""
    return "success" if message.event.type in _SUCCESS else _KINDS[message.event.severity]


def _named(label: str, outcome: SendOutcome) -> SendOutcome:
    match outcome:
        case Blocked(reason):
            return Blocked(f"{label}: {reason}")
        case Unclear(reason):
            return Unclear(f"{label}: {reason}")
        case RetryLater(reason):
            return RetryLater(f"{label}: {reason}")
        case _:
            return outcome


def _combined_outcome(outcomes: Mapping[str, SendOutcome], *, sent_before: bool) -> SendOutcome:
    """Return the outcome of the whole attempt."""
    accepted = [outcome for outcome in outcomes.values() if isinstance(outcome, Sent)]
    failed = [outcome for outcome in outcomes.values() if not isinstance(outcome, Sent)]
    if not failed:
        return Sent(", ".join(sorted({each.receipt or "accepted" for each in accepted})) or None)
    reason = safe("; ".join(dict.fromkeys(each.reason for each in failed)))
    if any(isinstance(each, Unclear) for each in failed):
        return Unclear(reason)
    if all(isinstance(each, Blocked) for each in failed) and not accepted and not sent_before:
        return Blocked(reason)
    return RetryLater(reason)


def build(name: str, settings: Any, renderer: Renderer) -> AppriseSink:
    """Build the sink. It contacts nothing before the first message."""
    return AppriseSink(name, settings, renderer)
