"""The check that a request comes from Slack: a signature over the raw body, not older than five minutes.

Source: Slack's page "Verifying requests from Slack". The comparison takes the same time for every signature.
"""

from slack_sdk.signature import Clock as SdkClock
from slack_sdk.signature import SignatureVerifier
from typing_extensions import override

from cmc_notify.ports import Clock

MAX_AGE = 300.0
"""Seconds; the same as in the SDK."""


class SignatureCheck:
    """Checks requests against one signing secret."""

    def __init__(self, secret: str, *, clock: Clock) -> None:
        self._clock = clock
        self._verifier = SignatureVerifier(secret.strip(), clock=_ClockAdapter(clock))

    def refusal(self, body: bytes, timestamp: str | None, signature: str | None) -> str | None:
        """Return None for a genuine request; else what is wrong with it."""
        if timestamp is None or signature is None:
            return "it is not signed"
        try:
            age = self._clock() - int(timestamp)
            genuine = self._verifier.is_valid(body, timestamp, signature)
        except (ValueError, TypeError):  # not a number, not UTF-8, not ASCII
            return "its timestamp, signature or body can't be read"
        if abs(age) > MAX_AGE:
            return f"its timestamp is {age:.0f} s from our clock: it is a copy, or one of the clocks is wrong"
        return None if genuine else "its signature does not match this app and body"


class _ClockAdapter(SdkClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @override
    def now(self) -> float:
        return self._clock()
