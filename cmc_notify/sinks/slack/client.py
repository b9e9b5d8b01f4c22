"""Calls to Slack's Web API: a response, or SlackCallFailed with the failure's outcome.

Guarantee: nothing is sent twice from here (no retry handler, no redirect, no kept connection that could be
stale), and no error holds the token. A call that changes something and whose response was lost is Unclear;
any other lost response is retried later.
"""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from msgspec import Struct
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.errors import ConfigError
from cmc_notify.sinks.http import HttpClient, RequestProgress, ssl_context
from cmc_notify.sinks.outcomes import from_exception, from_status, safe, wait_from_header
from cmc_notify.sinks.slack.error_codes import SlackCallFailed, from_code
from cmc_notify.sinks.slack.settings import SlackSettings

_OK = 200
_progress: ContextVar[RequestProgress | None] = ContextVar("slack_contact", default=None)

# Without a level on its logger the SDK formats every request for its log, however large it is.
_SDK_LOG = logging.getLogger("cmc_notify.sinks.slack.sdk")
_SDK_LOG.setLevel(logging.WARNING)


_LARGEST_RESPONSE = 16_000_000
"""Bytes. A page of 200 messages with their blocks and metadata is far smaller."""


class _BoundedResponse(aiohttp.ClientResponse):
    """A response of limited size: the SDK reads it whole, even if it unfolds to gigabytes."""

    async def read(self) -> bytes:
        if self._body is None:
            chunks: list[bytes] = []
            size = 0
            async for chunk in self.content.iter_any():
                size += len(chunk)
                if size > _LARGEST_RESPONSE:
                    self.close()
                    raise aiohttp.ClientPayloadError(f"the response is larger than {_LARGEST_RESPONSE} bytes")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body


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
        progress = RequestProgress()
        reset = _progress.set(progress)
        try:
            response = await getattr(self._connected(), method.replace(".", "_"))(**arguments)
            headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
            return SlackResponse(dict(response.data), headers)
        except SlackApiError as error:
            raise self._failure_of(method, error, changes=changes) from error
        except ConfigError as error:
            raise SlackCallFailed(Blocked(safe(error))) from error
        except _Redirected as error:
            raise SlackCallFailed(
                Blocked(f"{method}: redirected; put the final address in api_url")
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            outcome = from_exception(
                error, request_written=progress.written and changes, secrets=[self._token]
            )
            raise SlackCallFailed(outcome) from error
        except (SlackClientError, AttributeError, TypeError, ValueError) as error:
            # The SDK fails in several ways on bodies that are not a JSON object.
            raise SlackCallFailed(_not_from_slack(method, changes=changes)) from error
        finally:
            _progress.reset(reset)

    async def upload(self, url: str, content: bytes) -> None:
        """Send a file's bytes to Slack's upload URL; nothing is visible yet. Raises SlackCallFailed."""
        try:
            response = await self._uploads.request(
                "POST",
                url,
                headers={"Content-Type": "application/octet-stream"},
                body=content,
                progress=RequestProgress(),
            )
        except ConfigError as error:
            raise SlackCallFailed(Blocked(safe(error))) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
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
            pin = self.settings.tls.fingerprint
            context = ssl_context(self.settings.tls)
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=True if pin is None else aiohttp.Fingerprint(pin), force_close=True
                ),
                timeout=aiohttp.ClientTimeout(total=self.settings.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_trace_requests()],
                response_class=_BoundedResponse,
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


class _Redirected(Exception):
    """A redirect, which would carry the message to another address."""


def _trace_requests() -> aiohttp.TraceConfig:
    """Record when a request is written, and stop at a redirect; the SDK offers neither."""

    async def wrote(
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        if progress := _progress.get():
            progress.written = True

    async def redirected(
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        _params: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        raise _Redirected

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(wrote)
    trace.on_request_redirect.append(redirected)
    return trace
