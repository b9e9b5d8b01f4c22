"""The rules of access: who somebody is, and what they may do; tokens, sessions, proxies, changes.

Tokens are compared by their SHA-256 digests, so that no comparison depends on their text.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.routing import any_glob

GRACE = 60.0
"""Seconds that a replaced token, and the sessions that it opened, still count."""
SESSION_LASTS = 12 * 3600.0
"""Seconds from the sign-in to the end of a session."""
MAX_USER = 128
"""The most characters in the name of a proxy's user."""


class Right(StrEnum):
    """What somebody may do."""

    READ = "read"
    ACT = "act"


class Way(StrEnum):
    """How somebody showed who they are."""

    LOCAL = "local"
    """By being on this machine, while nothing asks for more."""
    BEARER = "token"
    BASIC = "basic"
    """A token as the password: for reads only, since a browser sends it with whatever a page asks for."""
    SESSION = "session"
    PROXY = "proxy"
    LINK = "link"


class Visitor(Struct, frozen=True):
    """Who sent a request."""

    name: str
    way: Way
    right: Right
    session: str | None = None
    """The digest of the session's id."""
    delivery: str | None = None
    """The delivery whose message has the link; it shows no more than that message did."""

    @property
    def may_act(self) -> bool:
        """Return True if this visitor may change something, where the request itself is fit for it."""
        return self.right is Right.ACT and self.way not in (Way.LOCAL, Way.BASIC, Way.LINK)


class Token(Struct, frozen=True):
    """One token by its digest (hexadecimal); ``until`` (Unix seconds) for one that was replaced."""

    name: str
    digest: str
    right: Right
    until: float | None = None

    def counts(self, now: float) -> bool:
        """Return True while it opens something."""
        return self.until is None or now < self.until


class ProxyRule(Struct, frozen=True):
    """A proxy that names people: its header, the addresses that it has, and who may do what (globs)."""

    user_header: str
    trusted: tuple[str, ...]
    secret: str | None
    """The digest of what ``X-Proxy-Secret`` must hold; None for no secret."""
    read: tuple[str, ...]
    act: tuple[str, ...]

    def trusts(self, address: str) -> bool:
        """Return True if requests from this address may name people."""
        found = parsed_address(address)
        return found is not None and any(found in ipaddress.ip_network(each) for each in self.trusted)

    def visitor(self, users: Sequence[str], secrets: Sequence[str]) -> Visitor | None:
        """Return the person that the headers of a trusted address name; None for nobody.

        ``users`` and ``secrets`` hold each value of the two headers: exactly one of each must be there.
        """
        if self.secret is not None and not (len(secrets) == 1 and same(self.secret, digest_of(secrets[0]))):
            return None
        if len(users) != 1 or not 0 < len(users[0]) <= MAX_USER or not users[0].isprintable():
            return None
        [user] = users
        if any_glob(self.act, user):
            return Visitor(user, Way.PROXY, Right.ACT)
        return Visitor(user, Way.PROXY, Right.READ) if any_glob(self.read, user) else None


class Session(Struct, frozen=True, kw_only=True):
    """Somebody who signed in at the page. ``id`` is the digest of the random id in the cookie."""

    id: str
    name: str
    right: Right
    began_at: float
    ends_at: float
    token: str
    """The digest of the token that opened it."""
    address: str | None = None
    """Where the person signed in from."""


class AccessRules(Struct, frozen=True):
    """Who may do what, by the config. ``guarded``: nobody counts as local."""

    tokens: tuple[Token, ...] = ()
    proxy: ProxyRule | None = None
    guarded: bool = False
    origin: str | None = None
    """The origin of ``http.external_url``, such as ``https://bridge.example.net``."""

    def token(self, text: str, now: float) -> Token | None:
        """Return the token that this text is; None for a wrong one."""
        given, found = digest_of(text), None
        for token in self.tokens:  # to the end, whichever it is
            if same(token.digest, given) and token.counts(now):
                found = found or token
        return found

    def session_right(self, session: Session, now: float) -> Right | None:
        """Return what a session may do; None if it has ended.

        Its token must be here under its name with the same text. A replica whose config is a moment behind
        does not know a new text yet: for the first minute the name alone is enough.
        """
        if now >= session.ends_at:
            return None
        named = [token for token in self.tokens if token.name == session.name]
        right = next((token.right for token in named if token.until is None), None)
        known = any(same(token.digest, session.token) and token.counts(now) for token in named)
        if right is None or not (known or now < session.began_at + GRACE):
            return None
        return Right.READ if Right.READ in (right, session.right) else Right.ACT

    def succeeded_by(self, new: "AccessRules", now: float) -> "AccessRules":
        """Return the new rules after a reload.

        A token with another text still counts for ``GRACE``. What was guarded stays so: no reload opens
        the pages to whoever is on this machine.
        """
        names = {token.name: token for token in new.tokens}
        texts = {(token.name, token.digest) for token in new.tokens}
        former = [
            replace(token, until=now + GRACE, right=names[token.name].right) if token.until is None else token
            for token in self.tokens
            if token.name in names and (token.name, token.digest) not in texts and token.counts(now)
        ]
        return replace(
            new,
            tokens=(*new.tokens, *former),
            guarded=new.guarded or self.guarded,
            origin=self.origin,
        )

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all tokens."""
        return frozenset(token.name for token in self.tokens)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a token or an id, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def same(one: str, other: str) -> bool:
    """Return True for equal digests, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def parsed_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address without its zone, one of IPv4 in IPv6 as IPv4; None for anything else."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def is_loopback(host: str | None) -> bool:
    """Return True if a host (an address, or ``localhost``) can only be this machine."""
    if not host:
        return False
    name = host.strip("[]").rstrip(".").lower()
    found = parsed_address(name)
    return name == "localhost" if found is None else found.is_loopback


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    found = parsed_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address if found is None else str(found)


def origin_of(url: str) -> str:
    """Return the origin of an address as browsers write it: without the port that its scheme has anyway."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def change_refusal(visitor: Visitor, headers: Mapping[str, Sequence[str]], own_origin: str) -> str | None:
    """Return why this request may not change anything; None if it may.

    ``headers`` holds each value of ``Origin`` and ``Sec-Fetch-Site``; ``own_origin`` is that of the pages.
    """
    origins, sites = headers.get("Origin", ()), headers.get("Sec-Fetch-Site", ())
    if visitor.way is Way.BEARER:
        return None if not origins else "a web page can't use a token: its request names an Origin"
    if not from_own_page(origins, sites, own_origin):
        return "this request does not come from a page of this bridge; open the page itself and try again"
    return None


def from_own_page(origins: Sequence[str], sites: Sequence[str], own_origin: str) -> bool:
    """Return True if a browser says that one of our own pages sent the request.

    Old browsers, and all of them on plain HTTP, send no ``Sec-Fetch-Site``: then ``Origin`` decides.
    """
    if sites:
        return list(sites) == ["same-origin"]
    return list(origins) == [own_origin]


def local_path(path: str | None) -> str:
    """Return where to go after the sign-in: a path of this bridge, else the first page."""
    if not path or not path.startswith("/") or path.startswith("//") or "\\" in path:
        return "/"
    if not path.isascii() or not path.isprintable() or path.split("?")[0] in ("/login", "/logout"):
        return "/"
    return path
