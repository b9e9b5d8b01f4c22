"""Apprise URLs: parsing, services and secrets.

Apprise is an optional extra: it is imported only where it is used, and only if the config names this sink.
Guarantee: no error and no part name shows a URL.
"""

import hashlib
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from apprise import NotifyBase

NOT_INSTALLED = "Apprise is not installed; run `pip install 'cmc-notify[apprise]'`"
_LINE = re.compile(r"(?:(?P<tags>[\w\s,-]+?)\s*=\s*)?(?P<url>[A-Za-z][A-Za-z0-9.+-]*://\S.*)")
_PIECES = re.compile(r"[/?&=:@#,;]+")
_SHORTEST_SECRET = 4


class UrlEntry(NamedTuple):
    """An entry of Apprise's text configuration: ``tag, tag = URL``, or a URL alone."""

    tags: frozenset[str]
    url: str


def parse_entry(line: str) -> UrlEntry:
    """Return the entry of a line. Raises ValueError, which does not repeat the line."""
    found = _LINE.fullmatch(line.strip())
    if not found or not line.isprintable():
        raise ValueError("is not an Apprise URL; write one such as gotify://host/token")
    return UrlEntry(frozenset(re.split(r"[\s,]+", found["tags"] or "")) - {""}, found["url"])


def part_name(url: str) -> str:
    """Return the name of a delivery's part: it is the same at any place in the config, and not a secret."""
    scheme = url.partition("://")[0].lower()
    return f"{scheme}:{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def make_service(url: str, *, timeout: float) -> "NotifyBase":
    """Return Apprise's object for the URL, for one message only: a thread may keep it.

    Nothing is contacted. ``timeout`` (seconds) holds for connecting and for reading, unless the URL says
    otherwise. Raises ValueError, which does not repeat the URL, and ImportError without Apprise.
    """
    import apprise  # noqa: PLC0415  an optional extra

    # Apprise logs whole requests and URLs; the outcome says what may be shown.
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        app_id="cmc-notify",
        app_desc="cmc-notify",
        async_mode=False,
        interpret_escapes=False,
        interpret_emojis=False,
        http_redirects=False,
        storage_mode="memory",
        pgp_autogen=False,
        pem_autogen=False,
    )
    found = apprise.Apprise.instantiate(url, asset=asset)
    if found is None:
        raise ValueError(_why_unusable(url))
    for name, key in (("socket_connect_timeout", "cto"), ("socket_read_timeout", "rto")):
        if f"{key}=" not in url:
            setattr(found, name, timeout)
    return found


def secrets_of(url: str, service: "NotifyBase") -> frozenset[str]:
    """Return the parts of the URL that must not be shown: those that Apprise hides itself."""
    shown = set(_PIECES.split(service.url(privacy=True)))
    pieces = (piece for piece in _PIECES.split(url) if len(piece) >= _SHORTEST_SECRET)
    return frozenset(piece for piece in pieces if piece not in shown) | {url}


def _why_unusable(url: str) -> str:
    """Return the remedy for a URL that Apprise refuses; of the URL only a known scheme is shown."""
    from apprise.manager_plugins import NotificationManager  # noqa: PLC0415  an optional extra

    known = NotificationManager()
    scheme = url.partition("://")[0].lower()
    if scheme not in known:
        return "is not of a service that Apprise knows; see https://appriseit.com/services/ for their URLs"
    service = known[scheme]
    if not service.enabled:
        needs = service.requirements.get("packages_required") or []
        packages = ", ".join([needs] if isinstance(needs, str) else needs)
        return f"{scheme}:// needs more than Apprise here: install {packages or service.setup_url}"
    return f"is not a complete URL of {service.service_name} ({scheme}://); see {service.setup_url}"
