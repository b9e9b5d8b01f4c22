"""An HTTP proxy between the bridge and a server, and the credentials that it asks for."""

import base64
from urllib.parse import unquote, urlsplit

from msgspec import Struct


class Proxy(Struct, frozen=True):
    """A proxy's address without its user, the header that names the user, and what of it is secret.

    On plain HTTP a proxy's own response looks like the server's and may repeat what it was sent, so the
    secrets are masked like the server's own.
    """

    address: str | None = None
    headers: dict[str, str] = {}
    secrets: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, address: str | None) -> "Proxy":
        """Return the proxy at ``http://user:password@host:port``; without an address, none."""
        if not address:
            return cls()
        parts = urlsplit(address)
        if parts.username is None:
            return cls(address)
        user, password = unquote(parts.username), unquote(parts.password or "")
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        secrets = frozenset(part for part in (encoded, password, parts.password) if part)
        return cls(bare, {"Proxy-Authorization": f"Basic {encoded}"}, secrets)
