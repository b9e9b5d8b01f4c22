"""The Slack sink's settings: one way in, and no secret shown."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cmc_notify.sinks.slack import PLUGIN, SlackSettings

HOOK = "https://hooks.slack.example/services/T0/B0/s3cr3t-hook"


def settings(**given: Any) -> SlackSettings:
    """Validated settings."""
    return SlackSettings.model_validate({"type": "slack", **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "give token"),
        ({"token": "xoxb-s3cr3t"}, "token needs channel"),
        ({"channel": "#netops"}, "give token"),
        ({"token": "xoxb-s3cr3t", "channel": ""}, "channel"),
        ({"token": "xoxb-s3cr3t", "channel": "#n", "webhook_url": HOOK}, "webhook_url leads to one channel"),
        ({"channel": "#n", "webhook_url": HOOK}, "webhook_url leads to one channel"),
        ({"webhook_url": "s3cr3t"}, "must be an address"),
        ({"token": " ", "channel": "#n"}, "token is empty"),
        ({"token": "xoxb-s3cr3t\nx", "channel": "#n"}, "line break"),
        (
            {"token": "xoxb-s3cr3t", "channel": "#n", "api_url": "slack.com"},
            "must be an address; write for example https://slack.com/api/",
        ),
    ],
)
def test_anything_but_one_way_in_is_refused(given: dict[str, Any], told: str) -> None:
    """The error says what to give or to remove, and shows no secret."""
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    assert told in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_token_can_come_from_a_file(tmp_path: Path) -> None:
    """A mounted secret is read, and shown by no repr."""
    (tmp_path / "token").write_text("xoxb-s3cr3t\n")
    found = settings(
        token_file=str(tmp_path / "token"), channel="#netops", api_url="https://slack.example/api"
    )
    assert found.token is not None
    assert found.token.get_secret_value() == "xoxb-s3cr3t"
    assert found.api_url == "https://slack.example/api/"
    assert "s3cr3t" not in repr(found)


BOT = {"token": "xoxb-s3cr3t", "channel": "#netops"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**BOT, "allow": {"cancel": ["*"]}}, "allow: presses of buttons can't reach the bridge"),
        ({**BOT, "app_token": "xoxb-s3cr3t"}, "app_token: is not an app-level token; those begin with xapp-"),
        ({**BOT, "signing_secret": " "}, "signing_secret: is empty"),
        ({**BOT, "signing_secret": "s3cr3t", "allow": {"cancel": ["@anna"]}}, "must be a member id"),
        ({**BOT, "signing_secret": "s3cr3t", "allow": {"silence": ["C0NETOPS"]}}, "must be a member id"),
        ({**BOT, "signing_secret": "s3cr3t", "allow": {"restart": ["*"]}}, "allow.restart"),
        ({**BOT, "update_every": "0s"}, "update_every"),
        ({"webhook_url": HOOK, "app_token": "xapp-s3cr3t"}, "app_token: has no use with webhook_url"),
        ({"webhook_url": HOOK, "allow": {"cancel": ["*"]}}, "allow: has no use with webhook_url"),
        ({"webhook_url": HOOK, "update_every": "5s"}, "update_every: has no use with webhook_url"),
    ],
)
def test_buttons_that_could_not_work_are_refused(given: dict[str, Any], told: str) -> None:
    """Nobody is left with a button that leads nowhere, or with a setting that does nothing."""
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    assert told in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_what_makes_buttons_work() -> None:
    """A way in and somebody who may; and none of it shows a secret."""
    assert not settings(**BOT).interactive
    assert not settings(**BOT).allow
    found = settings(
        **BOT, app_token="xapp-s3cr3t", signing_secret="s3cr3t", allow={"cancel": ["U012AB3CD", "S0NETOPS"]}
    )
    assert found.interactive
    assert found.allow.cancel == ("U012AB3CD", "S0NETOPS")
    assert "s3cr3t" not in repr(found)


def test_only_a_bot_updates_its_messages() -> None:
    """An incoming webhook can't, and so gets no progress."""
    assert settings(**BOT).updates_every == 5
    assert settings(**BOT, update_every="1m").updates_every == 60
    assert settings(webhook_url=HOOK).updates_every is None


def test_the_plugin_names_its_documents() -> None:
    """The templates that ``preview`` and ``check`` render."""
    assert PLUGIN.settings is SlackSettings
    assert PLUGIN.extensions == ("card", "mrkdwn", "txt")
