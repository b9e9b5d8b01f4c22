"""Signatures of our webhooks, verified by libraries that others wrote for Standard Webhooks."""

import json
import time
from base64 import b64encode

import pytest

from cmc_notify.sinks.signing import parse_secret, sign
from support.peers import missing

SECRET = f"whsec_{b64encode(bytes(range(32))).decode()}"
OTHER = f"whsec_{b64encode(bytes(range(1, 33))).decode()}"
BODY = json.dumps({"type": "job.failed", "text": "é \u202e 🔴"}).encode()


def headers(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    """Return the headers of one message, signed with each secret."""
    now = int(time.time())
    keys = [parse_secret(secret) for secret in secrets]
    signature = sign(keys, message_id="01a2-hook", timestamp=now, body=body)
    return {"webhook-id": "01a2-hook", "webhook-timestamp": str(now), "webhook-signature": signature}


def verify(library: str, secret: str, body: bytes, given: dict[str, str]) -> None:
    """Verify with one library, which raises for what it does not believe."""
    if library == "svix":
        try:
            from svix.webhooks import Webhook  # noqa: PLC0415  may be missing
        except ImportError:
            missing(library)
        Webhook(secret).verify(body, given)
        return
    try:
        from standardwebhooks.webhooks import Webhook as Standard  # noqa: PLC0415  may be missing
    except ImportError:
        missing(library)
    Standard(secret).verify(body, given)


@pytest.mark.parametrize("library", ["svix", "standardwebhooks"])
def test_others_believe_our_signature(library: str) -> None:
    """Each library takes our signature, also beside that of an older secret, and no changed body."""
    verify(library, SECRET, BODY, headers(SECRET))
    verify(library, SECRET, BODY, headers(OTHER, SECRET))
    with pytest.raises(Exception, match=r"(?i)signature"):
        verify(library, SECRET, BODY + b" ", headers(SECRET))
    with pytest.raises(Exception, match=r"(?i)signature"):
        verify(library, SECRET, BODY, headers(OTHER))
