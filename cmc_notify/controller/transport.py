"""HTTP to one controller: every error is a ControllerUnreachable with a short, readable reason.

Guarantees: each request ends within ``poll.timeout``; no more than ``poll.max_body`` decompressed bytes are
kept of a response; no redirect is followed, so credentials go to no other host; no message holds a query,
a body or a secret. Responses for the caller to check (2xx, and 4xx except 408 and 429) are returned.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from cmc_notify.controller.wire import clean, parse
from cmc_notify.errors import ControllerUnreachable
from cmc_notify.net import HttpClient, HttpResponse, NetworkError, as_utf8, client_context, mask
from cmc_notify.settings.controller import ControllerSettings

_REFUSAL = 64 * 1024
_WORDS = 300
_EARLIER_SECRETS = 4


class ControllerResponse(Struct, frozen=True):
    """A complete response. ``endpoint`` is its method and URL, for messages."""

    status: int
    body: bytes
    endpoint: str
    retry_after: str | None = None
    """The header as it came."""

    @property
    def ok(self) -> bool:
        """True if the controller did what was requested."""
        return 200 <= self.status < 300  # noqa: PLR2004  the meaning of 2xx is known

    @property
    def is_page(self) -> bool:
        """True for a page for people, such as the log-in page of a proxy."""
        return self.body[:200].lstrip().startswith(b"<")

    def json(self) -> Any:
        """Return the body as plain Python. Raises ControllerUnreachable if it is not JSON."""
        try:
            return parse(self.body)
        except (ValueError, RecursionError):
            what = "a web page (of a log-in, or a proxy?)" if self.is_page else "not JSON"
            raise ControllerUnreachable(f"{self.endpoint}: the response is {what}") from None

    def document(self) -> dict[str, Any]:
        """Return the body as an object; empty if it is anything else, for example an HTML page."""
        try:
            found = parse(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Transport:
    """One controller's connections. Opens them on first use; ``close`` ends them."""

    def __init__(self, name: str, settings: ControllerSettings) -> None:
        self._base = settings.url
        self._max_body = settings.poll.max_body
        self._secrets: tuple[str, ...] = ()
        place = f"controllers.{name}.tls"
        plain = settings.url.startswith("http://") and not settings.proxy
        client_context(settings.tls, place, plain=plain)  # a file that can't be used is an error of the start
        self._client = HttpClient(
            settings.tls,
            timeout=settings.poll.timeout,
            proxy=settings.proxy,
            tls_place=place,
            timeout_key="poll.timeout",
            secrets=lambda: self._secrets,
            plain=plain,
            options={"cookies": True, "decompress": True, "keep": True, "repeat_reads": True},
        )
        self.clock_offset: float | None = None
        """Seconds that the controller's clock is ahead of ours, by the Date of its last response."""

    def keep_secret(self, *secrets: str) -> None:
        """Hide these in every later message, also where the controller's own words repeat them.

        Earlier ones stay hidden, too: a refused token may be repeated once more. The oldest are forgotten.
        """
        earlier = [secret for secret in self._secrets if secret not in secrets]
        self._secrets = (*earlier[-_EARLIER_SECRETS:], *secrets)

    def forget_cookies(self) -> None:
        """Drop the cookies of an earlier session."""
        if (cookies := self._client.cookies) is not None:
            cookies.clear()

    def has_cookies(self) -> bool:
        """Return True if the controller has set any cookie that is still valid.

        Its cookies are secrets from now on: a controller may repeat its session in an error.
        """
        found = [cookie.value for cookie in self._client.cookies or ()]
        self.keep_secret(*found)
        return bool(found)

    async def close(self) -> None:
        """End the connections; the next request opens new ones."""
        await self._client.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> ControllerResponse:
        """Send one request once. Raises ControllerUnreachable."""
        endpoint = f"{method} {self._base}{path}"
        content: dict[str, Any] = {
            key: value for key, value in (("json", json), ("data", form)) if value is not None
        }
        try:
            received = await self._client.request(
                method,
                f"{self._base}{path}",
                params=params,
                headers={"Accept": "application/json", **(headers or {})},
                read=self._max_body + 1,
                read_refusal=_REFUSAL,
                **content,
            )
        except NetworkError as error:
            raise ControllerUnreachable(f"{endpoint}: {error}") from error.__cause__
        self._refuse_redirect(received, endpoint)
        self._note_clock(received.headers.get("Date"))
        if received.fault is not None and received.ok:
            raise ControllerUnreachable(f"{endpoint}: {received.fault}")
        if len(received.body) > self._max_body:
            raise ControllerUnreachable(
                f"{endpoint}: the response is larger than {self._max_body} bytes (poll.max_body)"
            )
        body = as_utf8(received.body, received.headers.get("Content-Type", ""))
        response = ControllerResponse(received.status, body, endpoint, received.retry_after)
        if response.status in (408, 429) or response.status >= 500:  # noqa: PLR2004  the meaning of 5xx is known
            raise ControllerUnreachable(self.describe(response))
        return response

    def describe(self, response: ControllerResponse) -> str:
        """Return endpoint, status, and the controller's own words (``error_id``, ``error_text``) if any."""
        document = response.document()
        words = [document.get(key) for key in ("error_id", "error_text", "error", "error_description")]
        said = clean(" ".join(" ".join(word.split()) for word in words if isinstance(word, str)))
        said = mask(said, (*self._secrets, *self._client.proxy.secrets), sign="***")
        said = said if len(said) <= _WORDS else f"{said[:_WORDS]}…"
        return f"{response.endpoint}: status {response.status}{f' ({said})' if said else ''}"

    def _note_clock(self, date: str | None) -> None:
        with suppress(TypeError, ValueError, OverflowError):
            self.clock_offset = parsedate_to_datetime(date or "").timestamp() - time.time()

    @staticmethod
    def _refuse_redirect(response: HttpResponse, endpoint: str) -> None:
        if not 300 <= response.status < 400:  # noqa: PLR2004  the meaning of 3xx is known
            return
        target = urlsplit(response.headers.get("Location", ""))
        where = f" to {target.scheme}://{target.hostname}" if target.hostname else ""
        raise ControllerUnreachable(
            f"{endpoint}: the response is a redirect ({response.status}){where}, which is not followed;"
            " set the controller's url to its own address"
        )
