"""The base of presets: texts within a vendor's limits, requests through one client, a faithful preview.

A preset is one module in ``presets/`` with a ``PRESET``: its settings, and a sink that derives from
``PresetSink`` (chat) or ``ticket.TicketSink`` (tickets). Its ``deliver`` turns a message into requests.
Its template folder has the preset's name: ``subject`` and ``txt`` make the texts. A ``json`` template of the
user's own, unless it gives null, replaces the preset's body.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from cmc_notify.core.outcome import SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, Posting, PreviewDocument, Renderer, Sink
from cmc_notify.sinks.fewer_failures import in_thread_if_long
from cmc_notify.sinks.shorter_text import Measure, cut_text, json_bytes, render_within, utf16_length
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.webhook_client import HttpResult, WebhookClient, host_of

EXTENSIONS = ("subject", "txt", "json")
_AROUND = 20_000
"""Bytes of a body that are kept free for everything except its text."""


class Preset(Struct, frozen=True):
    """A preset's entry in the registry."""

    settings: type[PresetSettings]
    build: Callable[[str, Any, Renderer], Sink]
    extensions: tuple[str, ...] = EXTENSIONS


class Limits(Struct, frozen=True):
    """The vendor's limits on the two texts, in the unit of ``measure``."""

    summary: int
    text: int
    measure: Measure = utf16_length


class MessageContent(Struct, frozen=True):
    """A message's texts within the limits. ``body`` replaces the body that the preset would make."""

    summary: str
    text: str
    body: bytes | None = None
    file: bytes | None = None
    """The complete list, if the text is not whole and the vendor takes files."""


class PresetSink(ABC):
    """The base of all presets. Safe to use from several tasks: it keeps nothing between messages."""

    folder: ClassVar[str]
    """The template folder; the preset's name."""
    limits: ClassVar[Limits]
    extension: ClassVar[str] = "txt"
    """The extension of the template that makes the text."""

    def __init__(self, name: str, settings: PresetSettings, renderer: Renderer) -> None:
        self._name = name
        self._renderer = renderer
        self.base = settings.base
        self.max_body = settings.max_body
        self.client = self.make_client(settings)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return the client. A preset with its own secrets or headers overrides this."""
        return WebhookClient(settings)

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    @abstractmethod
    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Make the requests for this message. For a preview, ``client`` only records them."""

    @abstractmethod
    async def probe(self) -> SendOutcome:
        """Send a request that changes nothing."""

    def preview_response(self, method: str, url: str) -> Any:  # noqa: ARG002  presets that read responses use them
        """Return the JSON that the receiver would respond with, for a preview."""
        return {}

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Make one attempt. A long message is rendered in a thread, so that polls and other sinks go on."""
        content = await in_thread_if_long(message, lambda: self.content(message))
        return await self.deliver(message, content, self.client, record)

    def content(self, message: Message) -> MessageContent:
        """Return the message's texts within the limits."""
        limits = self.limits
        summary = self._renderer.render(self.folder, "subject", message).text
        room = self.max_body - _AROUND

        def measure(text: str) -> int:
            """Count in the vendor's unit; return more than any limit if ``max_body`` can't hold the text."""
            return limits.measure(text) if json_bytes(text) <= room else room + limits.text

        text = render_within(
            message, self._renderer, self.folder, self.extension, limit=limits.text, measure=measure
        )
        own = self._renderer.render(self.folder, "json", message)
        replaced = own.fallback is None and own.text.strip() != "null"
        return MessageContent(
            summary=cut_text(summary, limits.summary, limits.measure),
            text=text,
            body=own.text.encode("utf-8", "replace") if replaced else None,
        )

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return each request that would be made if the receiver responds with success."""
        preview = PreviewClient(self)
        outcome = _run_without_waiting(self.deliver(message, self.content(message), preview, _record_nothing))
        if not preview.documents:
            said = outcome.receipt if isinstance(outcome, Sent) else outcome.reason
            return [PreviewDocument("request.txt", f"nothing is sent: {said}\n")]
        return preview.documents

    async def close(self) -> None:
        """End all connections."""
        await self.client.close()


class PreviewClient(WebhookClient):
    """Records requests instead of making them."""

    def __init__(self, sink: PresetSink) -> None:
        self._sink = sink
        self._real = sink.client
        self.documents: list[PreviewDocument] = []

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        message_id: str | None = None,
        read: bool = False,
    ) -> HttpResult:
        """Return success, with the preset's ``preview_response``."""
        del read
        count = sum(each.name.startswith("request") for each in self.documents)
        place = f"-{count + 1}" if count else ""
        hidden = host_of(self._sink.base) + ("/***" if self._sink.base != host_of(self._sink.base) else "")
        shown = hidden + url.removeprefix(self._sink.base)
        head = self._real.request_head(method, shown, message_id)
        self.documents.append(PreviewDocument(f"request{place}.txt", head))
        if body is not None:
            text = self._real.mask(body.decode("utf-8", "replace"))
            self.documents.append(PreviewDocument(f"body{place}.json", text))
        response = msgspec.json.encode(self._sink.preview_response(method, url)).decode()
        return HttpResult(Sent(), 200, response)


async def _record_nothing(_part: str, _receipt: str, *, posting: Posting | None = None) -> None:
    """Record nothing: a preview leaves no trace."""


def _run_without_waiting(work: Coroutine[Any, Any, SendOutcome]) -> SendOutcome:
    """Return the result of a coroutine that never waits, as with a PreviewClient."""
    try:
        work.send(None)
    except StopIteration as done:
        outcome: SendOutcome = done.value
        return outcome
    work.close()
    raise RuntimeError("a preview must not wait")
