"""Calls to Slack's Web API: a response, or SlackCallFailed with the outcome that the failure means.

Guarantee: nothing is sent twice from here (no retry handler, no redirect, no kept connection that could be
stale), and no error holds the token. A call that changes something and whose response was lost is Unclear;
any other lost response is retried later.
"""

import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
from msgspec import Struct
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.errors import ConfigError
from cmc_notify.net import (
    FailureKind,
    HttpClient,
    NetworkError,
    SessionOptions,
    client_context,
    open_session,
    safe,
    track_progress,
    translate,
)
from cmc_notify.sinks.outcomes import from_exception, from_status, wait_from_header
from cmc_notify.sinks.slack.error_codes import SlackCallFailed, from_code
from cmc_notify.sinks.slack.settings import SlackSettings

_OK = 200

# Without a level on its logger the SDK formats every request for its log, however large it is.
_SDK_LOG = logging.getLogger("cmc_notify.sinks.slack.sdk")
_SDK_LOG.setLevel(logging.WARNING)


_LARGEST_RESPONSE = 16_000_000
"""Bytes. A page of 200 messages with their blocks and metadata is far smaller."""


class SlackResponse(Struct, frozen=True):
    """A success. ``data`` is the decoded body with ``ok: true``; header names are in lowercase."""

    data: Mapping[str, Any]
    headers: Mapping[str, str]


class SlackClient:
    """Calls Slack with one token. Connections open with the first call; ``close`` ends them."""

    def __init__(self, settings: SlackSettings) -> None:
        assert settings.token is not None, "settings check it"
        self.settings = settings
        self._token = settings.token.get_secret_value().strip()
        self._uploads = HttpClient(settings.tls, timeout=settings.timeout, proxy=settings.proxy)
        self._web: AsyncWebClient | None = None

    async def call(self, method: str, *, changes: bool = False, **arguments: Any) -> SlackResponse:
        """Call Slack's ``method`` through the SDK. Raises SlackCallFailed.

        Set ``changes`` if the call shows something to people: then a lost response is Unclear.
        """
        with track_progress() as progress:
            try:
                response = await getattr(self._connected(), method.replace(".", "_"))(**arguments)
                headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
                return SlackResponse(dict(response.data), headers)
            except SlackApiError as error:
                raise self._failure_of(method, error, changes=changes) from error
            except ConfigError as error:
                raise SlackCallFailed(Blocked(safe(error))) from error
            except (aiohttp.ClientError, OSError) as error:
                failure = translate(
                    error,
                    written=progress.written,
                    timeout=self.settings.timeout,
                    secrets=[self._token],
                )
                lost = failure.written and changes and failure.kind is not FailureKind.REDIRECT
                raise SlackCallFailed(from_exception(failure, request_written=lost)) from error
            except (SlackClientError, AttributeError, TypeError, ValueError) as error:
                # The SDK trips over bodies that are no JSON object in several ways.
                raise SlackCallFailed(_not_from_slack(method, changes=changes)) from error

    async def upload(self, url: str, content: bytes) -> None:
        """Send a file's bytes to Slack's upload URL; nothing is visible yet. Raises SlackCallFailed."""
        try:
            response = await self._uploads.request(
                "POST",
                url,
                headers={"Content-Type": "application/octet-stream"},
                body=content,
            )
        except ConfigError as error:
            raise SlackCallFailed(Blocked(safe(error))) from error
        except NetworkError as error:
            raise SlackCallFailed(from_exception(error, request_written=False)) from error
        if response.status != _OK:
            # An upload URL is Slack's own and expires: whatever the response, a new URL may work.
            outcome = from_status(response.status, response.retry_after)
            wait = outcome.after if isinstance(outcome, RetryLater) else None
            raise SlackCallFailed(RetryLater(f"upload: HTTP {response.status}", wait))

    async def close(self) -> None:
        """End all connections; a later call opens new ones."""
        await self._uploads.close()
        if self._web is not None:
            web, self._web = self._web, None
            if web.session is not None:
                await web.session.close()

    def _connected(self) -> AsyncWebClient:
        if self._web is None:
            context = client_context(self.settings.tls)
            session = open_session(
                SessionOptions(
                    timeout=self.settings.timeout,
                    fingerprint=self.settings.tls.fingerprint,
                    decompress=True,
                    max_body=_LARGEST_RESPONSE,
                )
            )
            self._web = AsyncWebClient(
                token=self._token,
                base_url=self.settings.api_url,
                timeout=max(1, round(self.settings.timeout)),
                ssl=context,
                session=session,
                logger=_SDK_LOG,
                retry_handlers=[],
            )
            # Not in the constructor: there None means the environment's proxy.
            self._web.proxy = self.settings.proxy
        return self._web

    def _failure_of(self, method: str, error: SlackApiError, *, changes: bool) -> SlackCallFailed:
        response: Any = error.response
        status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
        headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
        wait = headers.get("retry-after")
        data = getattr(response, "data", None)
        code = data.get("error") if isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(code, str):
            return from_code(
                code,
                method,
                needed=str(data.get("needed") or ""),
                wait=wait_from_header(wait),
                secrets=[self._token],
            )
        outcome = from_status(status, wait, method)
        return SlackCallFailed(
            _not_from_slack(method, changes=changes) if isinstance(outcome, Sent) else outcome
        )


def _not_from_slack(method: str, *, changes: bool) -> SendOutcome:
    said = f"{method}: the response is not one of Slack's"
    return Unclear(said) if changes else RetryLater(said)
