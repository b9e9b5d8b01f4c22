"""The Slack sink's part of the config: a bot token with its channel, or an incoming webhook's address."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cmc_notify.settings.base import SinkSettings


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
        if not value.startswith(("https://", "http://")):
            raise ValueError("api_url must begin with https:// (or http:// for a test server)")
        return value if value.endswith("/") else f"{value}/"

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.webhook_url is not None:
            if self.token is not None or self.channel is not None:
                raise ValueError(
                    "webhook_url stands alone, for it leads to one channel; remove it, or token and channel"
                )
            if not self.webhook_url.get_secret_value().startswith(("https://", "http://")):
                raise ValueError("webhook_url must begin with https://")
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
