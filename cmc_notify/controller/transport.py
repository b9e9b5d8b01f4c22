"""HTTP to one controller: every error is a ControllerUnreachable with a short, readable reason.

Guarantees: each request ends within ``poll.timeout``; no more than ``poll.max_body`` decompressed bytes are
kept of a response; no redirect is followed, so credentials go to no other host; no message holds a query,
a body or a secret. Responses for the caller to check (2xx, and 4xx except 408 and 429) are returned.
"""

import base64
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from msgspec import Struct

from cmc_notify.controller.wire import clean, parse
from cmc_notify.core.network import no_connection_text, os_error_text
from cmc_notify.errors import ConfigError, ControllerUnreachable
from cmc_notify.settings.base import TlsSettings
from cmc_notify.settings.controller import ControllerSettings

_BUFFER = 256 * 1024
_WORDS = 300
_EARLIER_SECRETS = 4


class ControllerResponse(Struct, frozen=True):
    """A complete response. ``endpoint`` is its method and URL, for messages."""

    status: int
    body: bytes
    endpoint: str

    @property
    def ok(self) -> bool:
        """True if the controller did what was requested."""
        return 200 <= self.status < 300  # noqa: PLR2004  the meaning of 2xx is known

    def json(self) -> Any:
        """Return the body as plain Python. Raises ControllerUnreachable if it is not JSON."""
        try:
            return parse(self.body)
        except (ValueError, RecursionError):
            raise ControllerUnreachable(f"{self.endpoint}: the response is not JSON") from None

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
        self._timeout = aiohttp.ClientTimeout(total=settings.poll.timeout)
        self._max_body = settings.poll.max_body
        plain = settings.url.startswith("http://") and not settings.proxy
        self._context = _tls_context(name, settings.tls, plain=plain)
        pin = settings.tls.fingerprint
        # The pin goes with the connector and the context with each request: so aiohttp checks the pin
        # also where a client certificate needs a context of its own.
        self._pin: aiohttp.Fingerprint | bool = aiohttp.Fingerprint(pin) if pin else True
        self._proxy, self._proxy_credentials, self._proxy_secrets = _proxy(settings.proxy)
        self._session: aiohttp.ClientSession | None = None
        self.clock_offset: float | None = None
        """Seconds that the controller's clock is ahead of ours, by the Date of its last response."""
        self._secrets: tuple[str, ...] = ()

    def keep_secret(self, *secrets: str) -> None:
        """Hide these in every later message, also where the controller's own words repeat them.

        Earlier ones stay hidden, too: a refused token may be repeated once more. The oldest are forgotten.
        """
        earlier = [secret for secret in self._secrets if secret not in secrets]
        self._secrets = (*earlier[-_EARLIER_SECRETS:], *secrets)

    def forget_cookies(self) -> None:
        """Drop the cookies of an earlier session."""
        if self._session:
            self._session.cookie_jar.clear()

    def has_cookies(self) -> bool:
        """Return True if the controller has set any cookie that is still valid."""
        return self._session is not None and len(self._session.cookie_jar) > 0

    async def close(self) -> None:
        """End the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session:
            await session.close()

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
        over_tls = self._base.startswith("https:")
        credentials = self._proxy_credentials
        try:
            async with self._open().request(
                method,
                f"{self._base}{path}",
                params=params,
                headers={
                    "Accept": "application/json",
                    **(headers or {}),
                    **({} if over_tls else credentials),
                },
                json=json,
                data=form,
                allow_redirects=False,
                ssl=self._context,
                proxy=self._proxy,
                proxy_headers=credentials if over_tls and credentials else None,
            ) as received:
                self._refuse_redirect(received, endpoint)
                self._note_clock(received.headers.get("Date"))
                response = ControllerResponse(received.status, await self._read(received, endpoint), endpoint)
        except ControllerUnreachable:
            raise  # our own error, which is also a ConnectionError
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
        ) as error:  # ValueError: a URL or header that is not valid
            raise ControllerUnreachable(f"{endpoint}: {self._reason(error)}") from _cause(error)
        if response.status in (408, 429) or response.status >= 500:  # noqa: PLR2004  the meaning of 5xx is known
            raise ControllerUnreachable(self.describe(response))
        return response

    def describe(self, response: ControllerResponse) -> str:
        """Return endpoint, status, and the controller's own words (``error_id``, ``error_text``) if any."""
        document = response.document()
        words = [document.get(key) for key in ("error_id", "error_text", "error", "error_description")]
        said = clean(" ".join(" ".join(word.split()) for word in words if isinstance(word, str)))
        for secret in sorted(filter(None, (*self._secrets, *self._proxy_secrets)), key=len, reverse=True):
            said = said.replace(secret, "***")
        said = said if len(said) <= _WORDS else f"{said[:_WORDS]}…"
        return f"{response.endpoint}: status {response.status}{f' ({said})' if said else ''}"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._pin),
                # unsafe: a controller is often named by its IP address, which has no cookies otherwise
                cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False),
                timeout=self._timeout,
                read_bufsize=_BUFFER,
                trust_env=False,
            )
        return self._session

    def _note_clock(self, date: str | None) -> None:
        with suppress(TypeError, ValueError, OverflowError):
            self.clock_offset = parsedate_to_datetime(date or "").timestamp() - time.time()

    @staticmethod
    def _refuse_redirect(response: aiohttp.ClientResponse, endpoint: str) -> None:
        if not 300 <= response.status < 400:  # noqa: PLR2004  the meaning of 3xx is known
            return
        target = urlsplit(response.headers.get("Location", ""))
        where = f" to {target.scheme}://{target.hostname}" if target.hostname else ""
        raise ControllerUnreachable(
            f"{endpoint}: the response is a redirect ({response.status}){where}, which is not followed;"
            " set the controller's url to its own address"
        )

    async def _read(self, response: aiohttp.ClientResponse, endpoint: str) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise ControllerUnreachable(
                    f"{endpoint}: the response is larger than {self._max_body} bytes (poll.max_body)"
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _reason(self, error: BaseException) -> str:
        match error:
            case TimeoutError():
                reason = f"no complete response within {self._timeout.total:g} s (poll.timeout)"
            case aiohttp.ServerFingerprintMismatch():
                reason = (
                    f"the certificate has the SHA-256 fingerprint {error.got.hex()},"
                    " not the one in tls.fingerprint_sha256"
                )
            case aiohttp.ClientConnectorCertificateError():
                why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
                reason = f"its certificate: {why}; set tls.ca_file or tls.fingerprint_sha256"
            case aiohttp.ClientProxyConnectionError():
                reason = f"the proxy can't be reached: {_unconnected(error)}"
            case aiohttp.ClientHttpProxyError():
                reason = f"the proxy refused with status {error.status}"
            case aiohttp.ClientConnectorError():
                reason = _unconnected(error)
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
                reason = "the connection was lost before the response was complete"
            case OSError():
                reason = os_error_text(error)
            case _:
                reason = f"the response is not valid HTTP ({type(error).__name__})"
        return reason


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    return no_connection_text(error.host, error.port, os_error_text(error.os_error))


def _cause(error: BaseException) -> BaseException | None:
    """Return the operating system's error: aiohttp's own show headers, so credentials, in their repr."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return None if isinstance(error, aiohttp.ClientError) else error


def _tls_context(name: str, tls: TlsSettings, *, plain: bool) -> ssl.SSLContext:
    """Return the TLS context of the config. Raises ConfigError.

    With ``plain`` HTTP no certificate is ever checked, so none is trusted: to load the system's authorities
    takes 40 ms of processor time.
    """
    key = f"controllers.{name}.tls"
    try:
        if plain and not tls.ca_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise ConfigError(
            f"{key}.ca_file: can't read certificates from {tls.ca_file} ({os_error_text(error)});"
            " it must be a PEM file"
        ) from error
    if tls.fingerprint or not tls.verify:  # a pinned certificate proves itself, whoever signed it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            words = os_error_text(error) if isinstance(error, OSError) else "the key is encrypted"
            raise ConfigError(
                f"{key}.cert_file: can't read a certificate and its key from {tls.cert_file} ({words});"
                " both must be PEM files, the key without a password"
            ) from error
    return context


def _proxy(address: str | None) -> tuple[str | None, dict[str, str], tuple[str, ...]]:
    """Return the proxy without its user, the header that signs in to it, and the secrets in that.

    On plain HTTP a proxy's own response looks like the controller's, and may repeat what it was sent.
    """
    if not address:
        return None, {}, ()
    parts = urlsplit(address)
    if parts.username is None:
        return address, {}, ()
    password = unquote(parts.password or "")
    encoded = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, {"Proxy-Authorization": f"Basic {encoded}"}, (encoded, password, parts.password or "")
