"""``sinks.NAME`` with ``type: email``: the mail server, the sender, the recipients."""

import re
from email.headerregistry import Address
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from cmc_notify.settings.base import SinkSettings, TlsSettings

SUBMISSION_PORT = 587
SUBMISSIONS_PORT = 465
"""The port of servers that use TLS from the first byte (RFC 8314)."""

_HOST = r"^[A-Za-z0-9:_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$"
_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_MAILBOX = re.compile(rf"(?:(?P<name>[^<>]*?)\s*<)?(?P<address>{_ADDRESS})(?(name)>)")


def parse_mailbox(value: object) -> object:
    """Parse ``noc@example.net`` or ``NOC <noc@example.net>``. Refuses line breaks."""
    if not isinstance(value, str):
        return value
    found = _MAILBOX.fullmatch(value.strip())
    if not found or not value.strip().isprintable():
        raise ValueError(f"{value!r} is not a mail address; write noc@example.net or NOC <noc@example.net>")
    name = (found["name"] or "").strip().strip('"')
    return Address(display_name=name, addr_spec=found["address"])


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _mode_alone(value: object) -> object:
    return {"mode": value} if isinstance(value, str) else value


class EmailTls(TlsSettings):
    """``tls: starttls``, or a mapping with ``mode`` and what every sink's ``tls`` takes."""

    mode: Literal["starttls", "tls", "none"] = "starttls"
    """STARTTLS is required, not only tried; ``tls`` is TLS from the first byte."""


Mailbox = Annotated[Address, BeforeValidator(parse_mailbox, json_schema_input_type=str)]
Mailboxes = Annotated[tuple[Mailbox, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Tls = Annotated[
    EmailTls,
    BeforeValidator(_mode_alone, json_schema_input_type=Literal["starttls", "tls", "none"] | EmailTls),
]


class EmailSettings(SinkSettings, arbitrary_types_allowed=True):
    """One mail server and one list of recipients."""

    type: Literal["email"] = "email"
    host: Annotated[str, Field(pattern=_HOST)]
    port: Annotated[int, Field(ge=1, le=65535)] = SUBMISSION_PORT
    """465 if ``tls: tls`` is set and the port is not."""
    tls: Tls = EmailTls()
    username: str | None = None
    password: SecretStr | None = None
    sender: Mailbox = Field(alias="from")
    to: Annotated[Mailboxes, Field(min_length=1)]
    cc: Mailboxes = ()
    reply_to: Mailbox | None = None
    subject_per: Literal["event", "job"] = "event"
    """``job``: all mails about one job have the same subject, which does not show the job's state.

    Clients that thread by ``References`` do not need it; Gmail starts a new conversation when the subject
    changes (https://support.google.com/mail/answer/5900).
    """

    @model_validator(mode="before")
    @classmethod
    def _usual_port(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("port") is not None:
            return data
        tls = _mode_alone(data.get("tls"))
        if isinstance(tls, dict) and tls.get("mode") == "tls":
            return {**data, "port": SUBMISSIONS_PORT}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together; set both or neither")
        if self.password is not None and self.tls.mode == "none" and not _is_loopback(self.host):
            raise ValueError("tls: none would send the password unencrypted; use starttls or tls")
        if self.proxy is not None:
            raise ValueError("proxy: mail can't go through an HTTP proxy; remove it, or use a mail relay")
        return self

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return everybody who gets the mail, each once."""
        return tuple(dict.fromkeys(mailbox.addr_spec for mailbox in (*self.to, *self.cc)))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
