"""Reading a config: where it is looked for, what the environment changes, how secrets get in."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr, ValidationError

from cmc_notify.errors import ConfigError
from cmc_notify.settings import HttpSettings, Settings, find_config, load
from cmc_notify.settings.base import Part, SinkSettings, TlsSettings
from cmc_notify.settings.config_warnings import config_warnings
from cmc_notify.settings.controller import ControllerSettings


class Chat(SinkSettings):
    """A sink with a secret, a list and a section of its own."""

    class Style(Part):
        """A section below a sink."""

        emoji: bool = True
        width: int = 80

    type: Literal["chat"] = "chat"
    token: SecretStr
    channels: tuple[str, ...] = ()
    style: Style = Style()


class Screen(SinkSettings):
    """A sink that takes only what all sinks take."""

    type: Literal["screen"] = "screen"


SINK_TYPES: dict[str, type[SinkSettings]] = {"chat": Chat, "screen": Screen}

SMALL = """
controllers:
  emea:
    url: https://cmc.example.net/
sinks:
  screen: {type: screen}
routes:
  - sinks: [screen]
"""

Load = Callable[..., Settings]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """``loaded(text, **environ)``: the settings of a config file with that text."""

    def read(text: str, **environ: str) -> Settings:
        file = tmp_path / "cmc-notify.yaml"
        file.write_text(text)
        return load(file, environ=environ, sink_types=SINK_TYPES)

    return read


def problems(read: Load, text: str, **environ: str) -> tuple[str, ...]:
    """Return the problems of a config."""
    with pytest.raises(ConfigError) as refused:
        read(text, **environ)
    return refused.value.problems


# --- where the file is ----------------------------------------------------------------------------------


def test_the_variable_names_the_file() -> None:
    """CMC_NOTIFY_CONFIG goes before every usual place, whether the file exists or not."""
    assert find_config({"CMC_NOTIFY_CONFIG": "/srv/bridge.yaml"}) == Path("/srv/bridge.yaml")


def test_the_usual_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable ./config/cmc-notify.yaml is taken where it exists."""
    monkeypatch.chdir(tmp_path)
    assert find_config({}) != Path("config/cmc-notify.yaml")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "cmc-notify.yaml").write_text(SMALL)
    assert find_config({}) == Path("config/cmc-notify.yaml")
    assert "emea" in load(None, environ={}, sink_types=SINK_TYPES).controllers


def test_no_config_at_all_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without file and variables the error names both places and how to give one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"config/cmc-notify.yaml nor /etc/.*--config"):
        load(None, environ={}, sink_types=SINK_TYPES)


def test_a_missing_file_is_named() -> None:
    """A file that was asked for and isn't there is an error, not an empty config."""
    with pytest.raises(ConfigError, match=r"^/nowhere/x.yaml: can't be read: No such file"):
        load(Path("/nowhere/x.yaml"), environ={}, sink_types=SINK_TYPES)


def test_an_error_about_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    """Bytes of another encoding are an error at their line."""
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"# one\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin.yaml:2: is not UTF-8"):
        load(file, environ={}, sink_types=SINK_TYPES)


def test_the_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can run without any file."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "CMC_NOTIFY_CONTROLLERS__EMEA__URL": "https://cmc.example.net",
        "CMC_NOTIFY_SINKS__SCREEN__TYPE": "screen",
        "CMC_NOTIFY_ROUTES__0__SINKS": "screen",
    }
    settings = load(None, environ=environ, sink_types=SINK_TYPES)
    assert settings.routes[0].sinks == ("screen",)
    assert settings.controllers["emea"].url == "https://cmc.example.net"


# --- what a file says -----------------------------------------------------------------------------------


def test_a_small_config_gets_the_documented_defaults(loaded: Load) -> None:
    """Three sections are enough; everything else has the default that the documents name."""
    settings = loaded(SMALL)
    poll = settings.controllers["emea"].poll
    assert (poll.interval, poll.idle_interval, poll.full_sync, poll.timeout) == (15, 60, 3600, 30)
    assert (poll.settle, poll.unreachable_after) == (60, 3)
    assert settings.controllers["emea"].overdue == {"push": 4 * 3600}
    assert settings.store.url.get_secret_value() == "sqlite:///data/cmc-notify.db"
    assert settings.store.retention == 30 * 86400
    sink = settings.sinks["screen"]
    assert (sink.timeout, sink.retry.initial, sink.retry.max, sink.retry.deadline) == (15, 5, 3600, 86400)
    assert (settings.http.host, settings.http.port, settings.shutdown_grace) == ("127.0.0.1", 8080, 8)
    assert (settings.log.format, settings.log.level, settings.timezone) == ("json", "info", "UTC")


def test_two_loads_of_one_file_are_equal(loaded: Load) -> None:
    """A reload can tell whether anything changed."""
    assert loaded(SMALL) == loaded(SMALL)
    assert loaded(SMALL) != loaded(SMALL + "timezone: Europe/Paris\n")
    assert type(loaded(SMALL)) is Settings


def test_settings_are_frozen(loaded: Load) -> None:
    """Nothing changes a config while it is in use."""
    with pytest.raises(ValidationError):
        loaded(SMALL).timezone = "Europe/Paris"  # type: ignore[misc]  # this is what must not work


def test_a_section_left_empty_is_as_if_not_given(loaded: Load) -> None:
    """Commenting out all keys of a section does not break the file."""
    assert loaded(SMALL + "http:\nlog:\nredact:\n") == loaded(SMALL)


def test_each_sink_is_read_by_its_type(loaded: Load) -> None:
    """A sink is an instance of the settings that its type is registered with."""
    text = SMALL.replace("sinks:\n  s", "sinks:\n  room: {type: chat, token: abc, channels: [a]}\n  s")
    settings = loaded(text)
    assert isinstance(settings.sinks["room"], Chat)
    assert settings.sinks["room"].channels == ("a",)
    assert isinstance(settings.sinks["screen"], Screen)


def test_matchers_take_one_or_many(loaded: Load) -> None:
    """A single value stands for a list of one, and a serial of digits is a text."""
    text = SMALL.replace(
        "- sinks: [screen]",
        "- match: {event: 'job.*', serial: 12345678, site_id: 7, feature: [QoS*, NTP]}\n"
        "    sinks: screen\n    continue: true",
    )
    route = loaded(text).routes[0]
    assert route.match.event == ("job.*",)
    assert route.match.serial == ("12345678",)
    assert route.match.site_id == (7,)
    assert route.match.feature == ("QoS*", "NTP")
    assert route.continue_


@pytest.mark.parametrize(
    ("written", "seconds"), [("200ms", 0.2), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("7", 7)]
)
def test_durations(loaded: Load, written: str, seconds: float) -> None:
    """Every documented unit, and a bare number of seconds."""
    assert loaded(f"{SMALL}shutdown_grace: {written}\n").shutdown_grace == pytest.approx(seconds)


@pytest.mark.parametrize(("written", "means"), [("all", "all"), ("none", "none"), ("24h", 86400.0)])
def test_first_run(loaded: Load, written: str, means: object) -> None:
    """A word or a duration."""
    text = SMALL.replace("net/", f"net/\n    first_run: {written}")
    assert loaded(text).controllers["emea"].first_run == means


def test_yaml_words_and_numbers_stay_what_they_look_like(loaded: Load) -> None:
    """``no``, ``0123`` and ``1:30`` stay texts, unlike in YAML 1.1."""
    text = SMALL.replace(
        "- sinks: [screen]", "- match: {feature: [no, 0123, 1:30, 2026-11-23]}\n    sinks: screen"
    )
    assert loaded(text).routes[0].match.feature == ("no", "0123", "1:30", "2026-11-23")


def test_anchors_and_merge_keys_work(loaded: Load) -> None:
    """Two controllers can share a part that is written once; their own keys come first."""
    text = SMALL.replace(
        "    url: https://cmc.example.net/\n",
        "    url: https://cmc.example.net/\n    poll: &often {interval: 5s, settle: 10s}\n"
        "  apac:\n    url: https://apac.example.net\n    poll: {<<: *often, settle: 20s}\n",
    )
    poll = loaded(text).controllers["apac"].poll
    assert (poll.interval, poll.settle) == (5, 20)


def test_aliases_can_not_fill_the_memory(loaded: Load) -> None:
    """A file of aliases that double in each line is refused, and quickly."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert any("has too many values" in problem for problem in problems(loaded, "\n".join(lines)))


def test_an_alias_to_itself_is_refused(loaded: Load) -> None:
    """A value that holds itself ends in an error, not in a loop."""
    assert any("has too many values" in problem for problem in problems(loaded, "redact: &a [*a]\n"))


def test_deep_nesting_is_refused(loaded: Load) -> None:
    """Thousands of brackets end in an error with a remedy."""
    assert any("nested too deeply" in problem for problem in problems(loaded, "redact: " + "[" * 5_000))


# --- secrets --------------------------------------------------------------------------------------------


def test_a_secret_comes_from_a_file_beside_the_config(loaded: Load, tmp_path: Path) -> None:
    """``x_file`` is read without its line break, its path relative to the config file."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("s3cr3t\n")
    settings = loaded(f"{SMALL}http: {{token_file: secrets/token}}\n")
    assert settings.http.token is not None
    assert settings.http.token.get_secret_value() == "s3cr3t"


def test_an_empty_secret_file_is_an_error(loaded: Load, tmp_path: Path) -> None:
    """A mounted secret that is empty is an error at start, not at the first refusal."""
    (tmp_path / "token").write_text("\n")
    (problem,) = problems(loaded, f"{SMALL}http: {{token_file: token}}\n")
    assert re.search(r":9: http.token_file: .*token is empty", problem)


def test_no_secret_shows_in_a_repr(loaded: Load) -> None:
    """Neither tokens, nor a store's or a proxy's password, nor what redact looks for."""
    settings = loaded(
        SMALL.replace(
            "net/\n",
            "net/\n    proxy: http://u:s3cr3t@proxy.example.net\n    auth: {method: token, token: s3cr3t}\n",
        ).replace("{type: screen}", "{type: screen, proxy: 'http://u:s3cr3t@proxy.example.net'}")
        + "http: {token: s3cr3t}\nredact: [s3cr3t]\nstore: {url: 'postgresql://u:s3cr3t@db/cmc'}\n"
    )
    assert "s3cr3t" not in repr(settings)
    assert settings.controllers["emea"].proxy == "http://u:s3cr3t@proxy.example.net"


# --- the environment ------------------------------------------------------------------------------------


def test_a_variable_goes_over_the_file(loaded: Load) -> None:
    """Any key, in any case of letters, with the type of its place."""
    settings = loaded(
        f"{SMALL}shutdown_grace: 3s\n",
        CMC_NOTIFY_SHUTDOWN_GRACE="1m",
        CMC_NOTIFY_CONTROLLERS__EMEA__POLL__UNREACHABLE_AFTER="5",
        cmc_notify_controllers__emea__tls__verify="false",
        CMC_NOTIFY_CONTROLLERS__EMEA__OVERDUE="{push: 1h}",
        CMC_NOTIFY_REDACT="['password=\\S+']",
        CMC_NOTIFY_ROUTES__0__CONTINUE="true",
        CMC_NOTIFY_ROUTES__1="{sinks: screen, match: {event: [job.failed]}}",
    )
    assert settings.shutdown_grace == 60
    assert settings.controllers["emea"].poll.unreachable_after == 5
    assert settings.controllers["emea"].tls.verify is False
    assert settings.controllers["emea"].overdue == {"push": 3600}
    assert settings.redact == (re.compile(r"password=\S+"),)
    assert settings.routes[0].continue_
    assert settings.routes[1].match.event == ("job.failed",)


def test_a_sink_can_be_all_environment(loaded: Load) -> None:
    """A secret of digits stays a text, a list and a section of the sink's own are read as such."""
    settings = loaded(
        SMALL,
        CMC_NOTIFY_SINKS__ROOM__TOKEN="0123",
        CMC_NOTIFY_SINKS__ROOM__TYPE="chat",
        CMC_NOTIFY_SINKS__ROOM__CHANNELS="[a, b]",
        CMC_NOTIFY_SINKS__ROOM__STYLE__WIDTH="100",
    )
    room = settings.sinks["room"]
    assert isinstance(room, Chat)
    assert room.token.get_secret_value() == "0123"
    assert room.channels == ("a", "b")
    assert room.style.width == 100


def test_the_deeper_variable_goes_over_the_shallower(loaded: Load) -> None:
    """A whole section and one key of it can both be given, in any order."""
    settings = loaded(SMALL, CMC_NOTIFY_LOG__LEVEL="debug", CMC_NOTIFY_LOG="{level: error, format: console}")
    assert (settings.log.level, settings.log.format) == ("debug", "console")


def test_a_secret_from_the_environment_replaces_the_file_s(loaded: Load) -> None:
    """``x`` from the environment goes over ``x_file`` from the config, which then isn't read."""
    settings = loaded(f"{SMALL}http: {{token_file: nowhere}}\n", CMC_NOTIFY_HTTP__TOKEN="abc")
    assert settings.http.token == SecretStr("abc")


def test_both_ways_to_a_secret_in_the_environment_is_an_error(loaded: Load) -> None:
    """It can't be known which of the two is meant."""
    (problem,) = problems(loaded, SMALL, CMC_NOTIFY_HTTP__TOKEN="s3cr3t", CMC_NOTIFY_HTTP__TOKEN_FILE="x")
    assert problem.startswith("CMC_NOTIFY_HTTP__TOKEN_FILE (http.token_file): both")
    assert "s3cr3t" not in problem


def test_null_takes_a_value_away(loaded: Load) -> None:
    """``null`` unsets what may be absent; a secret of that text stays a text."""
    settings = loaded(
        f"{SMALL}http: {{external_url: 'https://bridge.example.net'}}\n",
        CMC_NOTIFY_HTTP__EXTERNAL_URL="null",
        CMC_NOTIFY_HTTP__TOKEN="null",
    )
    assert settings.http.external_url is None
    assert settings.http.token == SecretStr("null")


def test_an_empty_variable_counts_as_not_set(loaded: Load) -> None:
    """A variable left empty in a compose file does not empty a key."""
    assert loaded(SMALL, CMC_NOTIFY_TIMEZONE="", CMC_NOTIFY_CONFIG="/else") == loaded(SMALL)


def test_what_kubernetes_injects_is_not_ours(loaded: Load) -> None:
    """A Service named cmc-notify puts such variables into every pod."""
    assert loaded(
        SMALL,
        CMC_NOTIFY_SERVICE_HOST="10.0.0.1",
        CMC_NOTIFY_SERVICE_PORT="8080",
        CMC_NOTIFY_SERVICE_PORT_HTTP="8080",
        CMC_NOTIFY_PORT="tcp://10.0.0.1:8080",
        CMC_NOTIFY_PORT_8080_TCP="tcp://10.0.0.1:8080",
        CMC_NOTIFY_PORT_8080_TCP_ADDR="10.0.0.1",
    ) == loaded(SMALL)


def test_a_name_that_ends_with_an_underscore_can_be_reached(loaded: Load) -> None:
    """Of three underscores the first belongs to the name."""
    settings = loaded(SMALL.replace("emea:", "emea_:"), CMC_NOTIFY_CONTROLLERS__EMEA___URL="http://other")
    assert settings.controllers["emea_"].url == "http://other"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "CMC_NOTIFY_HTPP__LISTEN",
            "x",
            r'^CMC_NOTIFY_HTPP__LISTEN \(htpp\): unknown key; did you mean "http"',
        ),
        (
            "CMC_NOTIFY_SHUTDOWN_GRACE",
            "soon",
            r"^CMC_NOTIFY_SHUTDOWN_GRACE \(.*is not a duration; write for example 200ms",
        ),
        ("CMC_NOTIFY_REDACT", "[a", r"^CMC_NOTIFY_REDACT \(redact\): is not valid YAML"),
        ("CMC_NOTIFY_ROUTES__9__SINKS", "x", r"^CMC_NOTIFY_ROUTES__9__SINKS .*has 1 entries"),
        ("CMC_NOTIFY_TIMEZONE__X", "x", r"^CMC_NOTIFY_TIMEZONE__X .*unknown key|must be one text"),
        ("CMC_NOTIFY_ROUTES", "[{sinks: nobody}]", r"^CMC_NOTIFY_ROUTES \(routes.0.sinks.0\): there is no"),
        (
            "cmc_notify_log__level",
            "warn",
            r"^cmc_notify_log__level \(log.level\): is not valid; write one of",
        ),
        ("CMC_NOTIFY_HTTP__LISTEN", "0.0.0.0:1", r"^CMC_NOTIFY_HTTP__LISTEN \(http.listen\): others can"),
    ],
)
def test_a_problem_from_the_environment_names_its_variable(
    loaded: Load, variable: str, value: str, message: str
) -> None:
    """The variable as it was written, then the key, what is wrong, and the remedy."""
    found = problems(loaded, SMALL, **{variable: value})
    assert len(found) == 1
    assert re.search(message, found[0]), found


def test_a_variable_below_a_plain_value_is_an_error(loaded: Load) -> None:
    """A path that goes through a text leads nowhere."""
    found = problems(loaded, f"{SMALL}timezone: UTC\n", CMC_NOTIFY_TIMEZONE__X="y")
    assert found == (
        (
            "CMC_NOTIFY_TIMEZONE__X (timezone.x): is below a key that already has a plain value; "
            "unset one of the two"
        ),
    )


def test_problems_of_file_and_environment_come_together(loaded: Load) -> None:
    """One run tells everything, what stands in the file in its order."""
    found = problems(loaded, f"{SMALL}logg: {{}}\nlog: {{level: warn}}\n", CMC_NOTIFY_TIMEZONE="Moon")
    places = [re.search(r"CMC_NOTIFY_TIMEZONE|yaml:\d+: \w+", problem) for problem in found]
    assert [place and place[0] for place in places] == ["CMC_NOTIFY_TIMEZONE", "yaml:9: logg", "yaml:10: log"]


def test_a_route_with_a_typo_makes_no_other_unreachable(loaded: Load) -> None:
    """Without its misspelt matcher it would take all, and the one below be blamed for it."""
    text = SMALL.partition("routes:")[0]
    routes = "routes:\n  - mach: {event: job.failed}\n    sinks: [screen]\n  - sinks: [screen]\n"
    found = problems(loaded, text + routes)
    assert [problem for problem in found if "never reached" in problem] == []
    assert any("unknown key" in problem for problem in found)


def test_what_the_environment_lacks_names_a_variable_beside_it(loaded: Load) -> None:
    """A key missing from a sink that only the environment makes is reported at one of its variables."""
    (problem,) = problems(loaded, SMALL, CMC_NOTIFY_SINKS__ROOM__TYPE="chat")
    assert problem.startswith(
        "CMC_NOTIFY_SINKS__ROOM__TYPE (sinks.room.token): is missing; add `token: …` (or token_file)"
    )


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
    http = HttpSettings(listen=listen, token=SecretStr("t"))
    assert (http.host, http.port, http.loopback) == (host, port, loopback)


@pytest.mark.parametrize("listen", ["::1:80", "host:", ":80", "host:x", "host:65536"])
def test_listen_refuses(listen: str) -> None:
    """Anything except host and port is refused."""
    with pytest.raises(ValidationError):
        HttpSettings(listen=listen, token=SecretStr("t"))


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
