"""Test settings from the environment."""

import re

import pytest
from pydantic import SecretStr

from support.settings_types import SMALL, Chat, Load, problems

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
    settings = loaded(f"{SMALL}http: {{token_file: nowhere}}\n", CMC_NOTIFY_HTTP__TOKEN="abc" * 7)
    assert settings.http.token == SecretStr("abc" * 7)


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
    )
    assert settings.http.external_url is None
    [problem] = problems(loaded, SMALL, CMC_NOTIFY_HTTP__TOKEN="null")
    assert "shorter than 20 characters" in problem


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
