"""The parts that every config section shares: frozen models, durations, secrets from files, TLS, retry.

Secrets are ``SecretStr`` and never show in a repr, a log or an error. Each field ``x`` of that type can
be given as ``x_file`` instead: the file is read when the config is loaded, its last line break removed.
A key left empty (``http:`` with everything under it commented out) counts as not given.

A validator's message that begins with ``key: `` is shown at that key, and so names its line.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

NAME = r"^[a-z](?:_?[a-z0-9])*_?$"
"""The pattern of a name, such as a sink's: ``__`` would be ambiguous in a variable's name."""
Name = Annotated[str, Field(pattern=NAME)]

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


def parse_duration(value: object) -> object:
    """Return ``200ms``, ``30s``, ``5m``, ``2h``, ``1d`` as seconds; a plain number means seconds."""
    if isinstance(value, str):
        found = _DURATION.match(value)
        if not found:
            raise ValueError(f"{value!r} is not a duration; write for example 200ms, 30s, 5m, 2h or 1d")
        return float(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a duration; write for example 200ms, 30s, 5m, 2h or 1d")  # noqa: TRY004  pydantic wants ValueError
    return value


DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "description": "seconds"},
        {
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$",
            "examples": ["200ms", "30s", "5m", "2h"],
        },
    ],
}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema(DURATION_SCHEMA),
]
"""Seconds, written as ``30s`` in the config."""


def web_address(value: str, example: str) -> SplitResult:
    """Return the parts of an HTTP address that a request can be sent to.

    Raises ValueError, which never repeats the address: it may hold a password. The parser's own messages
    (about brackets, about characters that look like others) would quote it.
    """
    refused = f"must be an address; write for example {example}, with special characters as %XX"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(refused) from None
    # A slash in a password ends the host too early, and what follows it would be taken for the path.
    if not usable or not value.isprintable() or any(odd in value for odd in " \\") or "@" in parts.path:
        raise ValueError(refused)
    return parts


_PROXY_EXAMPLE = "http://proxy.example.net:3128"


def _proxy_address(value: str | None) -> str | None:
    if value is not None and ":" in unquote(web_address(value, _PROXY_EXAMPLE).username or ""):
        raise ValueError("a proxy's user name can't hold a colon; write a user name without one")
    return value


Proxy = Annotated[str | None, AfterValidator(_proxy_address), Field(repr=False)]
"""An HTTP proxy's address. It may hold a password, so no repr shows it."""


def holds_secret(annotation: Any) -> bool:
    """Return True if a value of this type is a secret or a list of secrets (a mapping has its own keys)."""
    if get_origin(annotation) in (dict, Mapping):
        return False
    return annotation is SecretStr or any(holds_secret(inner) for inner in get_args(annotation))


def takes_null(annotation: Any) -> bool:
    """Return True if null is a value of this type, not just a key left empty."""
    return annotation in (None, NoneType, Any) or any(takes_null(inner) for inner in get_args(annotation))


class Part(BaseModel):
    """One mapping of the config file: frozen, unknown keys are errors, secrets can come from files."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_input(cls, data: Any) -> Any:
        """Drop empty keys, and read secrets from their files."""
        if not isinstance(data, dict):
            return data
        result = dict(data)
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if key in result and result[key] is None and not takes_null(field.annotation):
                del result[key]
            file_key = f"{key}_file"
            if not holds_secret(field.annotation) or file_key in cls.model_fields:
                continue
            path = result.pop(file_key, None)
            if path is None:
                continue
            if result.get(key) is not None:
                raise ValueError(f"{file_key}: both {key} and {file_key} are set; keep one")
            result[key] = _secret(file_key, path)
        return result


def _secret(file_key: str, path: object) -> str:
    try:
        text = Path(str(path)).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(
            f"{file_key}: can't read {path}: {reason}; correct the path or its permissions"
        ) from None
    if not text:
        raise ValueError(f"{file_key}: {path} is empty; write the secret into it")
    return text


class TlsSettings(Part):
    """The proof of a server's identity and, with ``cert_file`` and ``key_file``, of our own."""

    ca_file: Path | None = None
    fingerprint_sha256: str | None = None
    """Hexadecimal, colons allowed: pins the server's certificate itself, whoever signed it."""
    verify: bool = True
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fingerprint_sha256 is not None:
            digits = self.fingerprint_sha256.replace(":", "").lower()
            if not re.fullmatch(r"[0-9a-f]{64}", digits):
                raise ValueError(
                    "fingerprint_sha256: is not a SHA-256 fingerprint; "
                    "write 64 hexadecimal digits (colons allowed)"
                )
        if self.key_file and not self.cert_file:
            raise ValueError("key_file: is set without cert_file; add cert_file")
        for key in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, key)
            if path is not None and not path.is_file():
                raise ValueError(f"{key}: there is no file {path}; correct the path or mount the file")
        return self

    @property
    def fingerprint(self) -> bytes | None:
        """Return the 32 bytes of the pinned digest."""
        if self.fingerprint_sha256 is None:
            return None
        return bytes.fromhex(self.fingerprint_sha256.replace(":", ""))


class RetrySettings(Part):
    """The retry times of one delivery."""

    initial: Annotated[Duration, Field(gt=0)] = 5.0
    max: Annotated[Duration, Field(gt=0)] = 3600.0
    deadline: Duration = 86400.0
    """Counted from the event; after it the delivery becomes a dead letter."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.initial > self.max:
            raise ValueError("initial: must not be longer than max; write a shorter initial or a longer max")
        return self


class SinkSettings(Part):
    """The settings of every sink. A sink's own settings derive from this and fix ``type``."""

    presets: ClassVar[Mapping[str, "SinkType"]] = MappingProxyType({})
    """The classes that read the settings instead, by the name in ``preset``; for a type with presets."""

    type: str
    timeout: Annotated[Duration, Field(gt=0)] = 15.0
    """The time limit of one attempt."""
    retry: RetrySettings = RetrySettings()
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    fallback: str | None = None
    """The sink that gets what this one can't deliver."""
    proxy: Proxy = None
    tls: TlsSettings = TlsSettings()
    send_resolved: bool = True
    links: Literal["signed", "sign_in", "none"] = "signed"
    """Whether a message's link opens its page by itself, for people who sign in, or is left out."""

    @property
    def opens_tickets(self) -> bool:
        """Return True if it opens a ticket for a failure and closes it.

        Then a route's ``per`` counts, and only events that open, change or close a ticket are sent.
        """
        return False

    @property
    def updates_every(self) -> float | None:
        """Return the least seconds between two updates of a job's message.

        None for a sink whose messages stay as they were sent: it gets no ``job.progress``.
        """
        return None


SinkType = type[SinkSettings]


def settings_class(kind: SinkType, written: Mapping[Any, Any]) -> SinkType:
    """Return the class that reads these settings of a sink: its preset's class, where they name a preset."""
    named = written.get("preset")
    return kind.presets.get(named, kind) if isinstance(named, str) else kind
