"""The Slack sink's part of the config: a bot token with its channel, or an incoming webhook's address."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from cmc_notify.settings.base import Duration, Part, SinkSettings, web_address

ANYBODY = "*"
_PERSON = re.compile(r"[UWS][A-Z0-9]{2,}")


def _person(value: str) -> str:
    if value != ANYBODY and not _PERSON.fullmatch(value):
        raise ValueError(
            'must be a member id (U… or W…) or a user group id (S…), as Slack shows it, or "*" for everybody'
        )
    return value


People = tuple[Annotated[str, AfterValidator(_person)], ...]
"""Slack's ids of members and user groups, or ``*`` for everybody who can see the channel."""


class AllowSettings(Part):
    """The people who may act from Slack. An action that nobody may do has no button."""

    cancel: People = ()
    """Cancel a queued or running job on its controller."""
    acknowledge: People = ()
    """Acknowledge a failed or overdue job, as its message then shows."""
    silence: People = ()
    """Silence a job's events for everybody for a while."""

    def __bool__(self) -> bool:
        """Return True if anybody may do anything."""
        return bool(self.cancel or self.acknowledge or self.silence)


class SlackSettings(SinkSettings):
    """Exactly one of ``token`` with ``channel``, or ``webhook_url``.

    With a token (scope ``chat:write``) long lists follow as files in the thread (``files:write``), and after
    a lost response the message is looked for before it is sent again (``channels:history`` or
    ``groups:history``, and ``channels:read`` or ``groups:read`` if ``channel`` is a name). An incoming
    webhook supports neither. Presses of the buttons come in by Socket Mode (``app_token``) or as signed
    requests (``signing_secret``).
    """

    type: Literal["slack"] = "slack"
    token: SecretStr | None = None
    channel: Annotated[str, Field(min_length=1)] | None = None
    """An id (``C0123ABCD``) or a name (``#netops``)."""
    api_url: str = "https://slack.com/api/"
    webhook_url: SecretStr | None = None
    update_every: Annotated[Duration, Field(gt=0)] = 5.0
    """The shortest time between two updates of a job's message, in seconds."""
    app_token: SecretStr | None = None
    """An app-level token (``xapp-…``, scope ``connections:write``): interactions come by Socket Mode."""
    signing_secret: SecretStr | None = None
    """Verifies interactions that Slack sends over HTTP."""
    allow: AllowSettings = AllowSettings()

    @property
    def updates_every(self) -> float | None:
        """Return ``update_every`` for a bot; None for an incoming webhook, whose messages never change."""
        return None if self.webhook_url is not None else self.update_every

    @property
    def interactive(self) -> bool:
        """Return True if presses can reach the bridge."""
        return self.app_token is not None or self.signing_secret is not None

    @field_validator("api_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = web_address(value, "https://slack.com/api/")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must be an address alone, without credentials, ? or #")
        return value if value.endswith("/") else f"{value}/"

    @field_validator("webhook_url")
    @classmethod
    def _is_secret_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            web_address(value.get_secret_value(), "https://hooks.slack.com/services/…")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.webhook_url is not None:
            if self.token is not None or self.channel is not None:
                raise ValueError(
                    "webhook_url leads to one channel and stands alone; remove it, or token and channel"
                )
        elif self.token is None:
            raise ValueError("give token (or token_file) and channel, or webhook_url (or webhook_url_file)")
        elif self.channel is None:
            raise ValueError("token needs channel: an id such as C0123ABCD, or a name such as #netops")
        elif (
            not self.token.get_secret_value().strip().isprintable()
            or not self.token.get_secret_value().strip()
        ):
            raise ValueError("token is empty or holds a line break; copy it again")
        return self

    @model_validator(mode="after")
    def _buttons_work(self) -> Self:
        if self.webhook_url is not None:
            for key in ("app_token", "signing_secret", "allow", "update_every"):
                if key in self.model_fields_set:
                    raise ValueError(
                        f"{key}: has no use with webhook_url; remove it, or give token and channel instead"
                    )
        if self.app_token is not None and not self.app_token.get_secret_value().strip().startswith("xapp-"):
            raise ValueError("app_token: is not an app-level token; those begin with xapp-")
        if self.signing_secret is not None and not self.signing_secret.get_secret_value().strip():
            raise ValueError("signing_secret: is empty; copy it from the app's Basic Information")
        if self.allow and not self.interactive:
            raise ValueError(
                "allow: presses of buttons can't reach the bridge; give app_token (Socket Mode) or "
                "signing_secret (HTTP) as well"
            )
        return self
