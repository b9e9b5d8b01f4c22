"""The webhook sink's part of the config."""

import base64
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from cmc_notify.net import url_secrets
from cmc_notify.settings.base import Part, SinkSettings
from cmc_notify.sinks.signing import parse_secret

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {"content-length", "transfer-encoding", "connection", "host", "user-agent"}
_NO_ADDRESS = "must be an address such as https://hooks.example.net/cmc"


class WebhookAuth(Part):
    """The credentials of a request. Each method needs its own fields and refuses the others."""

    method: Literal["none", "basic", "bearer", "header"] = "none"
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    header: str | None = None
    """The header's name, such as ``X-Api-Key``."""
    value: SecretStr | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "none": set[str](),
            "basic": {"username", "password"},
            "bearer": {"token"},
            "header": {"header", "value"},
        }[self.method]
        names = ("username", "password", "token", "header", "value")
        given = {name for name in names if getattr(self, name) is not None}
        if missing := sorted(needed - given):
            raise ValueError(f"method {self.method} needs {' and '.join(missing)}")
        if extra := sorted(given - needed):
            raise ValueError(f"method {self.method} does not use {' and '.join(extra)}; remove it")
        if self.header is not None and self.value is not None:
            check_header(self.header, self.value)
        if self.token is not None:
            check_header("Authorization", self.token)
        return self

    def headers(self) -> dict[str, str]:
        """Return the headers for each request."""
        if self.method == "basic" and self.username is not None and self.password is not None:
            pair = f"{self.username}:{self.password.get_secret_value()}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        if self.method == "bearer" and self.token is not None:
            return {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        if self.method == "header" and self.header is not None and self.value is not None:
            return {self.header: self.value.get_secret_value()}
        return {}


def check_header(name: str, value: SecretStr) -> None:
    """Raise ValueError for a header that can't be sent, or that the bridge sets itself."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be the name of a header; use letters, digits and hyphens")
    if name.lower() in _OURS or name.lower().startswith("webhook-"):
        raise ValueError(f"the header {name} is set by the bridge; remove it")
    if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable():
        raise ValueError(f"the value of the header {name} must be printable ASCII on one line")


def _listed(value: object) -> object:
    """Accept one secret, a list, or several separated by white space (as in a file)."""
    return value.split() if isinstance(value, str) else value


class EndpointSettings(SinkSettings):
    """The settings of every webhook, with a preset or without."""

    type: Literal["webhook"] = "webhook"
    url: SecretStr
    """Secret, since many services put a token into the path."""
    auth: WebhookAuth = WebhookAuth()
    headers: dict[str, SecretStr] = Field(default={})
    signing_secret: Annotated[
        tuple[SecretStr, ...], BeforeValidator(_listed, json_schema_input_type=SecretStr | list[SecretStr])
    ] = ()
    """``whsec_…``. With several, each signs, so that a receiver can change from one to the next."""
    max_body: Annotated[int, Field(ge=65536)] = 16_000_000
    """Bytes. A longer document loses failures from its end and says how many."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is not a number, unbalanced brackets
            raise ValueError(_NO_ADDRESS) from None
        if not usable or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError(_NO_ADDRESS)
        if parts.username or parts.password:
            raise ValueError("must not hold credentials; use auth")
        return value

    @field_validator("headers")
    @classmethod
    def _usable(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, content in value.items():
            check_header(name, content)
        return value

    @field_validator("signing_secret")
    @classmethod
    def _parsed(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            parse_secret(secret.get_secret_value())
        return value

    def secrets(self) -> frozenset[str]:
        """Return everything that no reason may show."""
        auth = self.auth
        held = [*self.headers.values(), *self.signing_secret, auth.password, auth.token, auth.value]
        values = {secret.get_secret_value() for secret in held if secret is not None}
        urls = [self.url.get_secret_value(), *([self.proxy] if self.proxy else [])]
        return frozenset(values.union(auth.headers().values(), *map(url_secrets, urls)))


class PresetSettings(EndpointSettings):
    """The base of every preset's settings: ``sinks.NAME`` with ``type: webhook`` and a ``preset``.

    A preset fixes ``preset`` and adds its ``options``. ``url`` is the service's own; the preset knows the
    paths.
    """

    preset: str

    @property
    def base(self) -> str:
        """The URL that a preset's paths are appended to."""
        return self.url.get_secret_value().rstrip("/")
