"""The Slack sink with an incoming webhook.

Guarantee: at least once. A webhook can't list what arrived, so after a lost response the part is sent again,
marked as a possible repeat. A long list becomes at most ten messages; the last one says how much is missing
and where it is.
"""

import asyncio
import json
from collections.abc import Sequence

from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome, Sent
from cmc_notify.errors import ConfigError
from cmc_notify.net import HttpClient, HttpResponse, NetworkError, safe, url_secrets
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.outcomes import from_exception, from_status, wait_from_header
from cmc_notify.sinks.slack.composer import Composer
from cmc_notify.sinks.slack.error_codes import AMBIGUOUS, BAD_MESSAGE, NEEDS_OPERATOR, RETRIED, from_code
from cmc_notify.sinks.slack.layout import remark
from cmc_notify.sinks.slack.limits import Payload, violations
from cmc_notify.sinks.slack.settings import SlackSettings

REPEAT = "This may be a repeat: the response to an earlier attempt was lost."
_KNOWN = RETRIED | AMBIGUOUS | NEEDS_OPERATOR | BAD_MESSAGE
_PROVES_ADDRESS = {"no_text", "invalid_payload"}


class IncomingSink:
    """One channel, reached through the URL of an incoming webhook, which is a secret."""

    def __init__(self, name: str, settings: SlackSettings, renderer: Renderer) -> None:
        assert settings.webhook_url is not None, "settings check it"
        self._name = name
        self._url = settings.webhook_url.get_secret_value()
        self._secrets = url_secrets(self._url)
        self._http = HttpClient(
            settings.tls, timeout=settings.timeout, proxy=settings.proxy, secrets=lambda: self._secrets
        )
        self._renderer = renderer

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Post the messages that are not in ``message.parts``: ``message``, ``message:2`` and so on."""
        composer = Composer(self._renderer, message)
        whole = await asyncio.to_thread(composer.whole)
        payloads = (whole,) if whole else await asyncio.to_thread(composer.continued)
        in_doubt = message.unclear
        for number, payload in enumerate(payloads, start=1):
            part = "message" if number == 1 else f"message:{number}"
            if part in message.parts:
                continue
            outcome = await self._post(payload, repeat=in_doubt)
            if not isinstance(outcome, Sent):
                return outcome
            in_doubt = False
            await record(part, "ok")
        return Sent(f"{len(payloads)} messages" if len(payloads) > 1 else None)

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the messages as they would be posted."""
        return [*Composer(self._renderer, message).preview("message", files=False)]

    async def probe(self) -> SendOutcome:
        """Post an empty message: an existing webhook refuses it because it has no text."""
        outcome, response = await self._request({"text": ""})
        if response is not None and response.text.strip() in _PROVES_ADDRESS:
            return Sent("the webhook exists: it refused an empty message")
        return outcome

    async def close(self) -> None:
        """End all connections."""
        await self._http.close()

    async def _post(self, payload: Payload, *, repeat: bool) -> SendOutcome:
        blocks = [*payload["blocks"], remark(REPEAT)] if repeat else payload["blocks"]
        body: Payload = {
            "text": payload["text"],
            "blocks": blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if problems := violations(body):
            return Rejected(f"the message breaks Slack's limits: {'; '.join(problems)}")
        return (await self._request(body))[0]

    async def _request(self, body: Payload) -> tuple[SendOutcome, HttpResponse | None]:
        try:
            response = await self._http.request(
                "POST",
                self._url,
                headers={"Content-Type": "application/json; charset=utf-8"},
                body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
            )
        except ConfigError as error:
            return Blocked(safe(error, self._secrets)), None
        except NetworkError as error:
            outcome = from_exception(error, request_written=error.written, secrets=self._secrets)
            return outcome, None
        return self._outcome_of(response), response

    def _outcome_of(self, response: HttpResponse) -> SendOutcome:
        """Return the outcome by Slack's own code if the body is one, else by the status."""
        word = response.text.strip()
        if word in _KNOWN or word.startswith(("restricted_action", "invalid_arg")):
            wait = wait_from_header(response.retry_after)
            return from_code(word, "incoming webhook", wait=wait, secrets=self._secrets).outcome
        return from_status(response.status, response.retry_after, word, secrets=self._secrets)
