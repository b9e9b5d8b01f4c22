"""The Slack sink's part of the config: a bot token with its channel, or an incoming webhook's address."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cmc_notify.settings.base import SinkSettings, web_address


class SlackSettings(SinkSettings):
    """Exactly one of ``token`` with ``channel``, or ``webhook_url``.

    With a token (scope ``chat:write``) long lists follow as files in the thread (``files:write``), and after
    a lost answer the message is looked for before it is sent again (``channels:history`` or
    ``groups:history``, and ``channels:read`` or ``groups:read`` where ``channel`` is a name). An incoming
    webhook can do neither.
    """

    type: Literal["slack"] = "slack"
    token: SecretStr | None = None
    channel: Annotated[str, Field(min_length=1)] | None = None
    """An id (``C0123ABCD``) or a name (``#netops``)."""
    api_url: str = "https://slack.com/api/"
    webhook_url: SecretStr | None = None

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
                    "webhook_url stands alone, for it leads to one channel; remove it, or token and channel"
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
