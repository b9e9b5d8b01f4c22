"""Secrets out of texts: whatever a server echoes, no spelling of a secret reaches a log or a page.

A server that repeats what it was sent may do so percent-encoded, JSON-escaped, HTML-escaped or in base64.
Each of these spellings is masked too.
"""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

LONGEST_REASON = 300
"""Characters of a reason; what is longer is cut."""
SHORTEST_SECRET = 4
"""Characters. A shorter secret is not masked: the holes would show it, and leave nothing to read."""
_SHORTEST_PATH_SECRET = 6
_MASK = "…"
# Without the scheme: a search for it would take quadratic time on a long word.
_URL = re.compile(r"://([^\s\"'<>]*)")


def mask(text: str, secrets: Iterable[str], *, sign: str = _MASK) -> str:
    """Return ``text`` with ``sign`` in place of every spelling of each secret."""
    for spelling in sorted(set(_all_spellings(secrets)), key=len, reverse=True):
        text = text.replace(spelling, sign)
    return text


def safe(text: object, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` on one line of printable characters, at most ``LONGEST_REASON`` long, masked.

    Of each URL in it only scheme and host stay.
    """
    result = mask(_URL.sub(_host_only, str(text)), secrets)
    result = "".join(c if c.isprintable() else " " for c in result)
    result = " ".join(result.split())
    return result if len(result) <= LONGEST_REASON else result[: LONGEST_REASON - 1] + "…"


def url_secrets(url: str) -> frozenset[str]:
    """Return the parts of a URL that may be tokens: credentials, path, long segments, query values."""
    parts = urlsplit(url)
    found = {parts.path, parts.query, f"{parts.path}?{parts.query}", parts.fragment}
    found.update(parts.path.split("/"))
    found.update(pair.partition("=")[2] for pair in parts.query.split("&"))
    kept = {part for part in found if len(part) >= _SHORTEST_PATH_SECRET}
    return frozenset(kept | {part for part in (parts.username, parts.password) if part})


def _all_spellings(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        for plain in {secret, unquote(secret), unquote_plus(secret)}:
            if len(plain) >= SHORTEST_SECRET:
                yield from _spellings(plain)


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "replace")
    yield secret
    yield html.escape(secret)
    for quoted in (quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    yield quote(secret, errors="replace")
    yield json.dumps(secret)[1:-1]
    escaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    yield escaped
    yield escaped.replace("/", "\\/")
    yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield the base64 text of ``raw``, and the part of it that shows at any offset in a longer text."""
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(raw).decode()
        for offset in range(3):
            text = encode(b"\0" * offset + raw).decode().rstrip("=")
            # The characters at both ends mix bits of the secret with those of its neighbours.
            inner = text[(offset * 8 + 5) // 6 : (len(raw) + offset) * 8 // 6]
            if len(inner) >= 2 * SHORTEST_SECRET:
                yield inner


def _host_only(found: re.Match[str]) -> str:
    authority = re.split(r"[/?#\\]", found[1], maxsplit=1)[0].rpartition("@")[2]
    return f"://{authority}{'/…' if authority != found[1] else ''}"
