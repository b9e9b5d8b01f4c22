"""Links in messages: each opens one event's page until it expires, and nothing else.

The signature is HMAC-SHA256 over the page and the expiry, so a link can't be used for another page or a
later time. The same inputs give the same link, so a message that is sent again looks the same. A link names
the delivery that carries it, so that the page shows no more than the message did.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from urllib.parse import quote

VALID_FOR = 30 * 86400.0
"""Seconds that a link opens its page, counted from the event."""

_PURPOSE = b"cmc-notify event page v2"
_DECIMAL = re.compile(r"[0-9]{1,12}")


class Links:
    """Writes and verifies the links to event pages.

    ``secret`` is the same for every replica and outlives restarts (``Ledger.secret``), at least 16 bytes.
    ``external_url`` is the URL at which people reach the bridge; without it no link is written.
    """

    def __init__(self, secret: bytes, external_url: str | None, valid_for: float = VALID_FOR) -> None:
        if len(secret) < 16:  # noqa: PLR2004  less can be guessed
            raise ValueError("the secret that signs links must have at least 16 bytes")
        self._secret = secret
        self._base = external_url.rstrip("/") if external_url else None
        self._valid_for = valid_for

    def event(self, event_id: str, issued: float, *, delivery: str = "") -> str | None:
        """Return the signed URL of one event's page, valid from ``issued`` (Unix seconds) for ``valid_for``.

        It shows what that delivery shows, or everything without one. None without an ``external_url``.
        """
        page = self.page(event_id)
        if page is None:
            return None
        expires = str(int(issued + self._valid_for))
        signature = self._sign(event_id, expires, delivery)
        scope = f"for={quote(delivery, safe='')}&" if delivery else ""
        return f"{page}?{scope}expires={expires}&signature={signature}"

    def page(self, event_id: str) -> str | None:
        """Return the URL of one event's page for people who sign in. None without an ``external_url``."""
        return None if self._base is None else f"{self._base}/events/{quote(event_id, safe='')}"

    def verify(self, event_id: str, expires: str, signature: str, now: float, *, delivery: str = "") -> bool:
        """Return True if we signed the link for exactly this page and it has not expired at ``now``.

        The others are the texts in the URL; anything malformed is False.
        """
        if not _DECIMAL.fullmatch(expires):
            return False
        genuine = hmac.compare_digest(
            self._sign(event_id, expires, delivery).encode(), signature.encode("utf-8", "surrogatepass")
        )
        return genuine and now < int(expires)

    def _sign(self, event_id: str, expires: str, delivery: str) -> str:
        page, scope = (text.encode("utf-8", "surrogatepass") for text in (event_id, delivery))
        # The lengths separate the parts, whatever they hold.
        message = b"%s\n%d\n%s\n%d\n%s\n%s" % (
            _PURPOSE, len(page), page, len(scope), scope, expires.encode("ascii"),
        )  # fmt: skip
        digest = hmac.digest(self._secret, message, hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
