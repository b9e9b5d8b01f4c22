"""Signatures by Standard Webhooks 1.0."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.simulator.receiver import signature_problem
from cmc_notify.sinks.signing import parse_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The specification's own example."""


def test_the_specifications_example() -> None:
    """The published example signs to the published signature."""
    signature = sign(
        [parse_secret(SECRET)],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    keys=st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3),
    body=st.binary(max_size=200),
    timestamp=st.integers(0, 2**40),
)
def test_any_of_several_secrets_verifies(keys: list[bytes], body: bytes, timestamp: int) -> None:
    """While a secret is rotated, a receiver that holds any one of them accepts the message."""
    headers = {
        "webhook-id": "a1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(keys, message_id="a1", timestamp=timestamp, body=body),
    }
    for key in keys:
        secret = "whsec_" + base64.b64encode(key).decode()
        assert parse_secret(secret) == key
        assert signature_problem(headers, body, [secret], now=timestamp) is None
        assert signature_problem(headers, body + b" ", [secret], now=timestamp) == "no signature matches"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"webhook-timestamp": "100"}, "missing"),
        ({"webhook-id": "a", "webhook-timestamp": "100", "webhook-signature": "v1,"}, "no signature"),
        ({"webhook-id": "a", "webhook-timestamp": "1e3", "webhook-signature": "v1,"}, "clock"),
        ({"webhook-id": "a", "webhook-timestamp": "501", "webhook-signature": "v1,"}, "clock"),
    ],
)
def test_a_receiver_refuses_what_proves_nothing(headers: dict[str, str], said: str) -> None:
    """Missing, foreign and stale signatures are refused."""
    problem = signature_problem(headers, b"", [SECRET], now=200.0)
    assert problem is not None
    assert said in problem


@pytest.mark.parametrize(
    "secret",
    [
        "s3cr3tplain",
        "whsec_%%%%s3cr3t",
        "whsec_czNjcjN0",
        "whsec_" + base64.b64encode(b"s3cr3t" * 11).decode(),
    ],
)
def test_a_bad_secret_is_refused_unseen(secret: str) -> None:
    """The error says what a signing secret looks like and does not show the one given."""
    with pytest.raises(ValueError, match="signing secret") as caught:
        parse_secret(secret)
    assert secret.removeprefix("whsec_") not in str(caught.value)


def test_an_id_with_a_dot_is_refused() -> None:
    """A dot in the id would make the signed content ambiguous."""
    with pytest.raises(ValueError, match="not contain a dot"):
        sign([b"k" * 24], message_id="a.b", timestamp=1, body=b"")
