"""``sinks.NAME`` with ``type: apprise``: the services' URLs and tags."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from cmc_notify.settings.base import SinkSettings, TlsSettings
from cmc_notify.sinks.apprise.addresses import NOT_INSTALLED, make_service, parse_entry


def _entries(value: object) -> object:
    """Accept one entry, a list, or one entry a line (as in a file) with blank lines and comments."""
    if not isinstance(value, str):
        return value
    lines = (line.strip() for line in value.splitlines())
    return [line for line in lines if line and not line.startswith(("#", ";"))]


def _usable(value: SecretStr) -> SecretStr:
    entry = parse_entry(value.get_secret_value())
    try:
        make_service(entry.url, timeout=1)
    except ImportError:
        raise ValueError(NOT_INSTALLED) from None
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class AppriseSettings(SinkSettings):
    """The services to notify, each by the URL that Apprise documents for it."""

    type: Literal["apprise"] = "apprise"
    urls: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_usable)], ...],
        BeforeValidator(_entries, json_schema_input_type=SecretStr | list[SecretStr]),
        Field(min_length=1),
    ]
    """Each may have tags before it, as in Apprise's text configuration: ``night, noc = gotify://…``."""
    tag: Annotated[tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = ()
    """Only URLs with one of these tags are used; without any, all of them."""

    @model_validator(mode="before")
    @classmethod
    def _installed(cls, data: Any) -> Any:
        try:
            import apprise  # noqa: F401, PLC0415  an optional extra
        except ImportError:
            raise ValueError(f"type: {NOT_INSTALLED}") from None
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.proxy is not None:
            raise ValueError("proxy: Apprise takes none; set HTTPS_PROXY in the bridge's environment")
        if self.tls != TlsSettings():
            raise ValueError(
                "tls: Apprise takes none; set REQUESTS_CA_BUNDLE, or write verify=no into the URL"
            )
        if not self.chosen:
            raise ValueError("tag: no URL has one of these tags; write `tag = URL` in urls, or remove tag")
        if len(set(self.chosen)) < len(self.chosen):
            raise ValueError("urls: one URL is given twice; remove one")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the URLs to use, with all their secrets."""
        entries = (parse_entry(each.get_secret_value()) for each in self.urls)
        return tuple(url for tags, url in entries if not self.tag or tags & {*self.tag})
