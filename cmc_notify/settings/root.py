"""The whole config, frozen. :func:`cmc_notify.settings.load` makes one from a file and the environment."""

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cmc_notify.settings.base import Duration, Name, Part, SinkSettings, web_address
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.settings.http import HttpSettings
from cmc_notify.settings.routes import RouteSettings
from cmc_notify.settings.suggestions import did_you_mean

_POSTGRESQL = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?"
    r"(?:\[[^\[\]/]+\]|[^/:@?\[\]\s]*)(?::[0-9]{1,5})?(?:,(?:\[[^\[\]/]+\]|[^/:@?\[\]\s,]+)(?::[0-9]{1,5})?)*"
    r"/[^/?\s][^?]*(?:\?.*)?"
)
"""User and password, hosts with their ports, database, options."""


class StoreSettings(Part):
    """The database of the bridge."""

    url: SecretStr = SecretStr("sqlite:///data/cmc-notify.db")
    """``sqlite:///path`` (relative to the working directory; four slashes: absolute) or ``postgresql://…``."""
    retention: Annotated[Duration, Field(gt=0)] = 30 * 86400.0
    """Of events and finished deliveries; jobs that a controller still lists and open failures stay."""

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        scheme, _, rest = text.partition("://")
        if scheme == "sqlite":
            if len(rest) < len("/x") or not rest.startswith("/") or "\0" in rest:
                raise ValueError(
                    "must name a file; write for example sqlite:///data/cmc-notify.db, or sqlite:////var/lib/…"
                )
        elif scheme in ("postgresql", "postgres"):
            if not _POSTGRESQL.fullmatch(rest):  # not urlsplit, whose errors quote the password
                raise ValueError("must name a database; write for example postgresql://user@host/database")
        else:
            hint = did_you_mean(scheme, ("sqlite", "postgresql")) if rest else None
            raise ValueError(f"must begin with sqlite:/// or postgresql://{f'; {hint}' if hint else ''}")
        return url


class LogSettings(Part):
    """The log's format and level."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        hint = did_you_mean(name, available_timezones()) or "write for example Europe/Paris or UTC"
        raise ValueError(f"{name!r} is not a time zone; {hint}") from None
    return name


def _selective(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if pattern.search(""):
        raise ValueError(
            "matches the empty text, so it matches everywhere; write one that needs at least one character"
        )
    return pattern


class Settings(Part, BaseSettings):
    """Everything that can be configured. Durations are seconds."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    controllers: dict[Name, ControllerSettings] = {}
    store: StoreSettings = StoreSettings()
    sinks: dict[Name, SinkSettings] = {}
    routes: tuple[RouteSettings, ...] = ()
    http: HttpSettings = HttpSettings()
    redact: Annotated[
        tuple[Annotated[re.Pattern[str], AfterValidator(_selective)], ...], Field(repr=False)
    ] = ()
    """Expressions; what they match is removed from error texts before anything is stored.

    No repr shows them: they can reveal what they match.
    """
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """For people; documents stay UTC."""
    templates_dir: Path | None = None
    """Searched before the built-in templates; relative to the config file's folder."""
    shutdown_grace: Duration = 8.0
    heartbeat_url: SecretStr | None = None
    """Called after each good poll cycle: when the calls stop, nothing is watched any more."""
    log: LogSettings = LogSettings()

    @field_validator("heartbeat_url")
    @classmethod
    def _can_be_called(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            web_address(url.get_secret_value(), "https://watch.example.net/ping")
        return url

    @field_validator("templates_dir")
    @classmethod
    def _is_folder(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError(f"there is no folder {path}; create it or correct the path")
        return path

    @classmethod
    def settings_customise_sources(  # the signature is pydantic-settings'
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  as above
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is given: ``load`` reads the environment, and can report which variable is wrong."""
        return (init_settings,)
