"""``http``: the port for people, programs, probes and Prometheus, and who may read and act there."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from cmc_notify.core.access import AccessRules, ProxyRule, Right, Token, digest_of, is_loopback, origin_of
from cmc_notify.settings.base import Name, Part, web_address
from cmc_notify.settings.routes import Globs

MIN_TOKEN = 20
"""The least characters of a token: shorter ones can be guessed."""
SHORT_NAME = "token"
"""The name of the token that ``http.token`` gives."""
_OWN_HEADERS = frozenset({"authorization", "cookie", "host", "origin", "x-proxy-secret", "sec-fetch-site"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_FEWER = "write for example a line of `openssl rand -base64 32`"


def _usable(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or text != text.strip():  # no header keeps spaces around its value
        raise ValueError(
            "must not be empty, nor begin or end with a space: nobody could sign in; write one without"
        )
    if not text.isprintable():
        raise ValueError(f"must be one line without control characters; {_FEWER}")
    if len(text) < MIN_TOKEN:
        raise ValueError(f"is shorter than {MIN_TOKEN} characters and could be guessed; {_FEWER}")
    return token


_TokenText = Annotated[SecretStr, AfterValidator(_usable)]


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address or network; write for example 10.0.0.0/8") from error


class TokenSettings(Part):
    """One token: people sign in with it, programs send it."""

    token: _TokenText
    """At least 20 characters."""
    may: Literal["read", "act"] = "read"
    """``act`` includes ``read``."""


class ProxyAuthSettings(Part):
    """A proxy that signs people in and names them in a header."""

    user_header: str = "X-Forwarded-User"
    """The header with the person's name. The proxy must remove what a visitor sends in it."""
    trusted: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(min_length=1)]
    """The addresses that the proxy's requests come from; from anywhere else the header counts for nothing."""
    secret: SecretStr | None = None
    """What the proxy sends in ``X-Proxy-Secret``; without it whoever has its address can name people."""
    read: Globs = ("*",)
    """Who may read: patterns of names."""
    act: Globs = ()
    """Who may also change something."""

    @field_validator("user_header")
    @classmethod
    def _is_header(cls, name: str) -> str:
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise ValueError("is not a header for a name; write for example X-Forwarded-User")
        return name

    @field_validator("secret")
    @classmethod
    def _can_be_sent(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else _usable(secret)

    @property
    def rule(self) -> ProxyRule:
        """Return it as the core needs it."""
        return ProxyRule(
            user_header=self.user_header,
            trusted=self.trusted,
            secret=digest_of(self.secret.get_secret_value()) if self.secret else None,
            read=self.read,
            act=self.act,
        )


class HttpSettings(Part):
    """The port for people, probes and Prometheus."""

    listen: str = "127.0.0.1:8080"
    external_url: str | None = None
    """The begin of links in messages; without it messages have no links."""
    tokens: dict[Name, TokenSettings] = Field(default={})
    """By name, which the audit shows."""
    token: _TokenText | None = None
    """Short for one token named ``token`` that may act."""
    proxy_auth: ProxyAuthSettings | None = None

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the highest TCP port
            raise ValueError("must be host:port; write for example 127.0.0.1:8080 or [::1]:8080")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError("an IPv6 address needs brackets; write for example [::1]:8080")
        return listen

    @field_validator("external_url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = web_address(url, "https://bridge.example.net")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must not hold credentials, ? or #; write the address alone")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.token is not None and SHORT_NAME in self.tokens:
            raise ValueError(f"token: is short for tokens.{SHORT_NAME}, which is there too; keep one")
        texts: dict[str, str] = {}
        for name, each in self._named().items():
            other = texts.setdefault(each.token.get_secret_value(), name)
            if other != name:
                raise ValueError(f"tokens: {other} and {name} are the same; give each its own")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.loopback and not self._named() and self.proxy_auth is None:
            raise ValueError(
                "listen: others can reach this address, so reads need a token or a proxy that names people; "
                "set http.token_file, http.tokens or http.proxy_auth, or listen on 127.0.0.1"
            )
        return self

    @property
    def host(self) -> str:
        """Return the address to listen on, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Return the port to listen on; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])

    @property
    def loopback(self) -> bool:
        """Return True if only this machine can reach the address."""
        return is_loopback(self.host)

    @property
    def rules(self) -> AccessRules:
        """Return who may read and act."""
        tokens = tuple(
            Token(name, digest_of(each.token.get_secret_value()), Right(each.may))
            for name, each in self._named().items()
        )
        url = self.external_url
        elsewhere = url is not None and not is_loopback(urlsplit(url).hostname)
        return AccessRules(
            tokens=tokens,
            proxy=self.proxy_auth.rule if self.proxy_auth else None,
            guarded=bool(tokens) or self.proxy_auth is not None or elsewhere or not self.loopback,
            origin=origin_of(url) if url else None,
        )

    def _named(self) -> Mapping[str, TokenSettings]:
        """Return every token by its name."""
        short: dict[str, Any] = {"token": self.token, "may": "act"}
        return dict(self.tokens) | ({SHORT_NAME: TokenSettings(**short)} if self.token else {})


def http_warnings(http: HttpSettings) -> Iterator[str]:
    """Yield one line for each weak key of ``http``: the key, what is risky, and what to write."""
    if http.proxy_auth and http.proxy_auth.secret is None:
        yield (
            "http.proxy_auth.secret: is not set, so whatever runs at a trusted address can name anybody; set "
            "secret_file, and let the proxy send the same in X-Proxy-Secret"
        )
    if http.rules.guarded and not http.rules.tokens and http.proxy_auth is None:
        yield (
            "http.tokens: is not set, and with http.external_url nobody counts as local, so nobody can read "
            "the pages but by a link; set http.token_file"
        )
