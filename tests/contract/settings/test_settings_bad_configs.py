"""Every bad config of the fixtures is refused with its position and remedy, and no secret in the message."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr

from cmc_notify.errors import ConfigError
from cmc_notify.settings import load
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.webhook import WebhookSettings

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "bad_configs").glob("*.yaml"))


class Chat(SinkSettings):
    """The part of a chat sink that the fixtures use."""

    type: Literal["slack"] = "slack"
    token: SecretStr
    channel: str


class Screen(SinkSettings):
    """A sink that takes only what all sinks take."""

    type: Literal["console"] = "console"


SINK_TYPES: dict[str, type[SinkSettings]] = {"slack": Chat, "console": Screen, "webhook": WebhookSettings}


def expectations(fixture: Path) -> list[list[str]]:
    """The ``# expect:`` lines: place, what is wrong, remedy."""
    lines = fixture.read_text().splitlines()
    found = [line.removeprefix("# expect: ").split(" | ") for line in lines if line.startswith("# expect: ")]
    assert found
    assert all(len(expected) == 3 for expected in found), "place | what | remedy"
    return found


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_a_bad_config_is_refused_with_place_and_remedy(fixture: Path) -> None:
    """Each expected error is one line with file, line, key, what is wrong and what to write."""
    with pytest.raises(ConfigError) as refused:
        load(fixture, environ={}, sink_types=SINK_TYPES)
    for expected in expectations(fixture):
        assert any(
            problem.startswith(str(fixture)) and all(part in problem for part in expected)
            for problem in refused.value.problems
        ), f"{expected} is not in:\n{refused.value}"


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_a_bad_config_says_nothing_else(fixture: Path) -> None:
    """One mistake gives one error: nothing that follows from it is reported as well."""
    with pytest.raises(ConfigError) as refused:
        load(fixture, environ={}, sink_types=SINK_TYPES)
    unexpected = [
        problem
        for problem in refused.value.problems
        if not any(all(part in problem for part in expected) for expected in expectations(fixture))
    ]
    allowed = {
        # A misspelt key is also a missing key, and both ways to fix it deserve a line.
        "typo_sink_key": 1,
        "colon_without_space": 1,
        "many_at_once": 1,
    }
    assert len(unexpected) == allowed.get(fixture.stem, 0), "\n".join(unexpected)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_no_secret_is_repeated(fixture: Path) -> None:
    """Neither the message nor anything chained to it holds a value that the fixture plants as a secret."""
    with pytest.raises(ConfigError) as refused:
        load(fixture, environ={}, sink_types=SINK_TYPES)
    assert "s3cr3t" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_there_are_many_fixtures() -> None:
    """The folder is really read: it holds what the release promises, and more."""
    assert len(FIXTURES) >= 30
