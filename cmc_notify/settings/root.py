"""The whole config, frozen. :func:`cmc_notify.settings.load` makes one from a file and the environment."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cmc_notify.settings.base import Duration, Part, SinkSettings, web_address
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.settings.routes import RouteSettings
from cmc_notify.settings.suggestions import did_you_mean

NAME = r"^[a-z](?:_?[a-z0-9])*_?$"
"""The pattern of a controller's or a sink's name: ``__`` would be ambiguous in a variable's name."""

_POSTGRESQL = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?"
    r"(?:\[[^\[\]/]+\]|[^/:@?\[\]\s]*)(?::[0-9]{1,5})?(?:,(?:\[[^\[\]/]+\]|[^/:@?\[\]\s,]+)(?::[0-9]{1,5})?)*"
    r"/[^/?\s][^?]*(?:\?.*)?"
)
"""User and password, hosts with their ports, database, options."""

Name = Annotated[str, Field(pattern=NAME)]


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


class HttpSettings(Part):
    """The port for people, probes and Prometheus."""

    listen: str = "127.0.0.1:8080"
    external_url: str | None = None
    """The begin of links in messages; without it messages have no links."""
    token: SecretStr | None = None

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

    @field_validator("token")
    @classmethod
    def _can_be_given(cls, token: SecretStr | None) -> SecretStr | None:
        text = "-" if token is None else token.get_secret_value()
        if not text or text != text.strip():  # no header keeps spaces around its value
            raise ValueError(
                "must not be empty, nor begin or end with a space: nobody could sign in; write one without"
            )
        return token

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.loopback and self.token is None:
            raise ValueError(
                "listen: others can reach this address, so reads need a token; set "
                "http.token_file, or listen on 127.0.0.1"
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
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


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
