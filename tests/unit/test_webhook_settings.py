"""The webhook sink's part of the config."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from cmc_notify.sinks.webhook import WebhookSettings

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(2)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "hooks.example.net/s3cr3t"}, "must be an address"),
        ({"url": "https://u:s3cr3t@hooks.example.net/"}, "must not hold credentials"),
        ({"url": "https://hooks.example.net:s3cr3t/"}, "must be an address"),
        ({"url": "https://hooks.example.net/s3cr3t\r\nx"}, "must be an address"),
        ({"auth": {"method": "basic", "username": "u"}}, "needs password"),
        ({"auth": {"method": "bearer", "token": "s3cr3t\nX-Evil: 1"}}, "printable ASCII"),
        ({"auth": {"method": "bearer", "token": "a", "password": "s3cr3t"}}, "does not use password"),
        ({"auth": {"method": "header", "header": "X Y", "value": "s3cr3t"}}, "can't be the name"),
        ({"headers": {"webhook-id": "s3cr3t"}}, "set by the bridge"),
        ({"headers": {"X-A": "s3cr3t\n"}}, "printable ASCII"),
        ({"signing_secret": "s3cr3t"}, "whsec_"),
        ({"signing_secret": [SECRETS[0], "whsec_s3cr3t"]}, "signing secret"),
        ({"max_body": 10}, "max_body"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], said: str) -> None:
    """Each mistake is named with its remedy, and no secret is in the message."""
    with pytest.raises(ValidationError) as caught:
        WebhookSettings.model_validate({"url": "https://hooks.example.net/x", **given})
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_several_secrets_from_one_file(tmp_path: Any) -> None:
    """A file may hold one signing secret a line while one is rotated."""
    path = tmp_path / "signing"
    path.write_text("\n".join(SECRETS) + "\n")
    settings = WebhookSettings.model_validate(
        {"url": "https://hooks.example.net/x", "signing_secret_file": str(path)}
    )
    assert [secret.get_secret_value() for secret in settings.signing_secret] == SECRETS
    assert SECRETS[0] not in repr(settings)
