"""Reading a config: where it is looked for, what the environment changes, how secrets get in."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from cmc_notify.errors import ConfigError
from cmc_notify.settings import Settings, find_config, load
from support.settings_types import SINK_TYPES, SMALL, Chat, Load, Screen, problems

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
    (tmp_path / "secrets" / "token").write_text("s3cr3t-and-long-enough\n")
    settings = loaded(f"{SMALL}http: {{token_file: secrets/token}}\n")
    assert settings.http.token is not None
    assert settings.http.token.get_secret_value() == "s3cr3t-and-long-enough"


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
        + "http: {token: s3cr3t-and-long-enough}\nredact: [s3cr3t]\nstore: {url: 'postgresql://u:s3cr3t@db/cmc'}\n"
    )
    assert "s3cr3t" not in repr(settings)
    assert settings.controllers["emea"].proxy == "http://u:s3cr3t@proxy.example.net"
