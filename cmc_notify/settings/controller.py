"""``controllers.NAME``: a controller's address, sign-in and polling."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, WithJsonSchema, field_validator, model_validator

from cmc_notify.settings.base import (
    DURATION_SCHEMA,
    Duration,
    Part,
    Proxy,
    TlsSettings,
    parse_duration,
    web_address,
)


class AuthSettings(Part):
    """The sign-in. Each method needs its own fields and refuses those of the others."""

    method: Literal["none", "basic", "cookie", "access_code", "token"] = "none"
    username: str | None = None
    password: SecretStr | None = None
    access_code: SecretStr | None = None
    token: SecretStr | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "none": set[str](),
            "basic": {"username", "password"},
            "cookie": {"username", "password"},
            "access_code": {"access_code"},
            "token": {"token"},
        }[self.method]
        given = {n for n in ("username", "password", "access_code", "token") if getattr(self, n) is not None}
        if missing := sorted(needed - given):
            raise ValueError(f"method {self.method} needs {' and '.join(missing)}; add it (or its …_file)")
        if extra := sorted(given - needed):
            raise ValueError(f"method {self.method} does not use {' and '.join(extra)}; remove it")
        return self


class PollSettings(Part):
    """The times of polling, in seconds once read."""

    interval: Annotated[Duration, Field(gt=0)] = 15.0
    """While jobs are open or settling."""
    idle_interval: Annotated[Duration, Field(gt=0)] = 60.0
    full_sync: Annotated[Duration, Field(gt=0)] = 3600.0
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """The time limit of one request."""
    watchdog: Annotated[Duration, Field(gt=0)] = 600.0
    """The time limit of one poll, up to its commit: a poll that lasts longer hangs, and counts as failed."""
    settle: Duration = 60.0
    """The wait for a Failed job's details before it is notified without them."""
    unreachable_after: Annotated[int, Field(ge=1)] = 3
    """Failed polls in a row before ``controller.unreachable`` is notified."""
    max_body: Annotated[int, Field(ge=65536)] = 256 * 1024 * 1024
    """Bytes: a larger response fails the request instead of filling the memory."""

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if self.watchdog <= self.timeout:
            raise ValueError(
                f"watchdog: must be longer than poll.timeout ({self.timeout:g} s), the limit of one request; "
                "write a longer watchdog"
            )
        return self


def _first_run(value: object) -> object:
    return value if value in ("none", "open", "all") else parse_duration(value)


class ControllerSettings(Part):
    """One controller."""

    url: str
    auth: AuthSettings = AuthSettings()
    tls: TlsSettings = TlsSettings()
    proxy: Proxy = None
    poll: PollSettings = PollSettings()
    first_run: Annotated[
        Literal["none", "open", "all"] | float,
        WithJsonSchema({"anyOf": [{"enum": ["none", "open", "all"]}, DURATION_SCHEMA]}),
    ] = "open"
    """``none``, ``open``, ``all``, or a duration: ``open`` plus the jobs that finished within it, by the
    controller's own clock.
    """
    overdue: dict[str, Duration] = Field(default={"push": 14400.0})
    """By operation: a job InProgress for longer is ``job.overdue``."""

    @field_validator("first_run", mode="before")
    @classmethod
    def _parse_first_run(cls, value: object) -> object:
        try:
            return _first_run(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is not valid; write none, open, all, or a duration such as 24h"
            ) from None

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = web_address(value, "https://cmc.example.net")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials; use auth for them")
        if parts.query or parts.fragment:
            raise ValueError("must not hold ? or #; write the controller's address alone")
        return value.rstrip("/")
