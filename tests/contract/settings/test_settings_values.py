"""Test values: listen addresses, fingerprints, proxies, cautions."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr, ValidationError

from cmc_notify.errors import ConfigError
from cmc_notify.settings import HttpSettings, load
from cmc_notify.settings.base import SinkSettings, TlsSettings
from cmc_notify.settings.config_warnings import config_warnings
from cmc_notify.settings.controller import ControllerSettings
from support.settings_types import SMALL, Load, Screen, problems

# --- parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:80", "::1", 80, True),
        ("127.9.9.9:80", "127.9.9.9", 80, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("[::]:8080", "::", 8080, False),
        ("bridge.example.net:80", "bridge.example.net", 80, False),
    ],
)
def test_listen(listen: str, host: str, port: int, *, loopback: bool) -> None:
    """An address is taken apart, and only what surely is loopback counts as such."""
    http = HttpSettings(listen=listen, token=SecretStr("t" * 20))
    assert (http.host, http.port, http.loopback) == (host, port, loopback)


@pytest.mark.parametrize("listen", ["::1:80", "host:", ":80", "host:x", "host:65536"])
def test_listen_refuses(listen: str) -> None:
    """Anything except host and port is refused."""
    with pytest.raises(ValidationError):
        HttpSettings(listen=listen, token=SecretStr("t" * 20))


@pytest.mark.parametrize("written", ["AB:CD:" * 15 + "AB:CD", "abcd" * 16])
def test_a_fingerprint_is_32_bytes(written: str) -> None:
    """With colons or without, in any case."""
    assert TlsSettings(fingerprint_sha256=written).fingerprint == bytes.fromhex("abcd" * 16)


def test_warnings_name_valid_but_dangerous_settings(loaded: Load) -> None:
    """Verification turned off and a sink that nobody uses give warnings, and nothing else."""
    settings = loaded(
        SMALL.replace("net/\n", "net/\n    tls: {verify: false}\n").replace(
            "  screen:", "  spare: {type: screen}\n  screen:"
        )
    )
    lines = list(config_warnings(settings))
    assert [line.partition(":")[0] for line in lines] == ["controllers.emea.tls.verify", "sinks.spare"]
    assert list(config_warnings(loaded(SMALL))) == []


def test_a_controller_url_loses_its_last_slash() -> None:
    """Paths are joined to it with one."""
    assert ControllerSettings(url="https://cmc.example.net/").url == "https://cmc.example.net"


ADDRESSES = [
    "://user:s3cr3t\uff03@host:3128/db",
    "://user:s[3cr3t]@host/db",
    "://user:s3cr3t@[::1/db",
    "://user:s3cr3t@host:port/db",
    "://user:s3cr3t\\@host:80/db",
]
"""Each of them lets the parser of the standard library, or of a driver, quote a password."""


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("controllers.emea.url", SMALL.replace("https://cmc.example.net/", "'http<ADDRESS>'")),
        ("controllers.emea.proxy", SMALL.replace("net/", "net/\n    proxy: 'http<ADDRESS>'")),
        ("sinks.screen.proxy", SMALL.replace("{type: screen}", "{type: screen, proxy: 'http<ADDRESS>'}")),
        ("http.external_url", f"{SMALL}http: {{external_url: 'http<ADDRESS>'}}"),
        ("store.url", f"{SMALL}store: {{url: 'postgresql<ADDRESS>'}}"),
    ],
)
def test_no_parser_quotes_a_password(loaded: Load, place: str, text: str, address: str) -> None:
    """An address that can't be taken apart is refused in our words."""
    if place == "store.url" and address in (*ADDRESSES[:2], ADDRESSES[4]):
        assert "3cr3t" not in repr(loaded(text.replace("<ADDRESS>", address))), "a database takes it as it is"
        return
    (problem,) = problems(loaded, text.replace("<ADDRESS>", address))
    assert f"{place}: must " in problem
    assert "3cr3t" not in problem


@pytest.mark.parametrize(
    "proxy", ["http://user:pass/word@proxy:3128", "http://proxy:99999", "http://pro xy:1"]
)
def test_a_proxy_that_no_request_could_use_is_refused(loaded: Load, proxy: str) -> None:
    """It is an error of the config, not of each request."""
    (problem,) = problems(loaded, SMALL.replace("net/", f"net/\n    proxy: '{proxy}'"))
    assert "emea.proxy: must be an address" in problem


def test_a_proxy_user_with_a_colon_is_refused(loaded: Load) -> None:
    """Basic sign-in can't say such a name, and each request would fail on it."""
    (problem,) = problems(loaded, SMALL.replace("net/", "net/\n    proxy: 'http://a%3Ab:c@proxy:1'"))
    assert "emea.proxy: a proxy's user name" in problem


@pytest.mark.parametrize("token", ["", " ", "t0ken ", "\tt0ken"])
def test_a_token_that_no_request_can_show_is_refused(token: str) -> None:
    """Headers lose the blanks around their values, so that nobody could sign in."""
    with pytest.raises(ValidationError, match="begin or end with a space") as refused:
        HttpSettings(listen="0.0.0.0:80", token=SecretStr(token))
    assert "t0ken" not in str(refused.value)


def test_a_fallback_must_not_open_tickets_that_nothing_closes(tmp_path: Path) -> None:
    """Only who opens tickets can fall back to who does."""

    class TicketServer(SinkSettings):
        """A sink that opens tickets."""

        type: Literal["desk"] = "desk"

        @property
        def opens_tickets(self) -> bool:
            """It does."""
            return True

    file = tmp_path / "cmc-notify.yaml"
    file.write_text(
        "controllers: {emea: {url: 'https://cmc.example.net'}}\n"
        "sinks:\n"
        "  one: {type: desk, fallback: two}\n"
        "  two: {type: desk, fallback: screen}\n"
        "  screen: {type: screen}\n"
        "  other: {type: screen, fallback: two}\n"
        "routes: [{sinks: [one, screen, other]}]\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(file, environ={}, sink_types={"desk": TicketServer, "screen": Screen})
    [problem] = refused.value.problems
    assert "sinks.other.fallback: two opens tickets" in problem


def test_a_route_with_per_but_without_tickets_gives_a_warning(loaded: Load) -> None:
    """It does nothing, which whoever wrote it does not expect."""
    [warning] = config_warnings(loaded(SMALL + "    per: failure\n"))
    assert warning.startswith("routes.0.per: is about tickets")
