"""Standard Webhooks 1.0: signatures that prove to a receiver that a message is genuine, whole and fresh.

The specification is at https://www.standardwebhooks.com; it takes three lines of HMAC.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64


def parse_secret(secret: str) -> bytes:
    """Return the key in ``whsec_<base64 of 24 to 64 bytes>``. Raises ValueError, which does not show it."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret starts with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a signing secret must be base64 after {PREFIX}") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(
            f"a signing secret holds {_SHORTEST} to {_LONGEST} bytes, not {len(key)}; "
            f"make one: echo {PREFIX}$(openssl rand -base64 32)"
        )
    return key


def sign(keys: Sequence[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` header: one ``v1`` signature for each key, so that keys can rotate.

    ``timestamp`` is in Unix seconds. ``message_id`` must not contain a dot, since dots separate the signed
    parts; raises ValueError otherwise.
    """
    if "." in message_id:
        raise ValueError("a webhook-id must not contain a dot")
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
