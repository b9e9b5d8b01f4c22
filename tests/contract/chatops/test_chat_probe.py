"""``check --online`` sees whether what people press will work, before anybody presses it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cmc_notify.core.outcome import Blocked, SendOutcome, Sent
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack_people import InteractiveSlack
from cmc_notify.sinks.slack import PLUGIN


@pytest.fixture
async def slack() -> AsyncIterator[InteractiveSlack]:
    """A workspace with one user group."""
    async with InteractiveSlack() as server:
        server.scopes |= {"commands"}
        server.groups["S0ONCALL"] = {"U0ANNA"}
        yield server


async def probed(slack: InteractiveSlack, **given: Any) -> SendOutcome:
    """What the sink's probe says."""
    document = {"token": slack.token, "channel": "#netops", "api_url": slack.api_url, **given}
    sink = PLUGIN.build("chat", PLUGIN.settings.model_validate(document), Renderer())
    try:
        return await sink.probe()
    finally:
        await sink.close()


async def test_all_is_well(slack: InteractiveSlack) -> None:
    """An address is asked for, with the app's token in the header, and nobody connects."""
    outcome = await probed(slack, app_token=slack.app_token, allow={"cancel": ["S0ONCALL", "U0BERT"]})
    assert isinstance(outcome, Sent)
    assert outcome.receipt
    assert outcome.receipt.endswith("Socket Mode works")
    assert slack.sockets.opened_count == 0
    slack.scopes.discard("commands")
    outcome = await probed(slack, signing_secret="x", allow={"silence": ["*"]})
    assert isinstance(outcome, Sent)
    assert outcome.receipt
    assert outcome.receipt.endswith("without commands there is no /cmc")


async def test_a_wrong_app_token(slack: InteractiveSlack) -> None:
    """It is told as such, without the token."""
    outcome = await probed(slack, app_token="xapp-1-wrong")
    assert isinstance(outcome, Blocked)
    assert outcome.reason.startswith("app_token: apps.connections.open: invalid_auth; it needs the scope")
    assert "wrong" not in outcome.reason


async def test_a_user_group_that_can_not_be_asked(slack: InteractiveSlack) -> None:
    """Unknown, or without the scope: else nobody in it could press anything."""
    allow = {"acknowledge": ["S0GONE"]}
    outcome = await probed(slack, app_token=slack.app_token, allow=allow)
    assert isinstance(outcome, Blocked)
    assert "user group S0GONE can't be asked: usergroups.users.list: no_such_subteam" in outcome.reason
    slack.scopes.discard("usergroups:read")
    outcome = await probed(slack, app_token=slack.app_token, allow=allow)
    assert isinstance(outcome, Blocked)
    assert "missing_scope (needs usergroups:read)" in outcome.reason
