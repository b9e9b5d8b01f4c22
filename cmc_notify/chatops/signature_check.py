"""Is a request really Slack's? By its signature over the raw body, and not older than five minutes.

Source: Slack's page "Verifying requests from Slack". The comparison takes the same time for any signature.
"""

from slack_sdk.signature import Clock as SdkClock
from slack_sdk.signature import SignatureVerifier
from typing_extensions import override

from cmc_notify.ports import Clock

LONGEST_AGE = 300.0
"""Seconds, as the SDK has it."""


class SignatureCheck:
    """One signing secret's way in."""

    def __init__(self, secret: str, *, clock: Clock) -> None:
        self._clock = clock
        self._verifier = SignatureVerifier(secret.strip(), clock=_Hands(clock))

    def refuses(self, body: bytes, timestamp: str | None, signature: str | None) -> str | None:
        """None for a genuine request; else what is wrong with it."""
        if timestamp is None or signature is None:
            return "it is not signed"
        try:
            age = self._clock() - int(timestamp)
            genuine = self._verifier.is_valid(body, timestamp, signature)
        except (ValueError, TypeError):  # no number, no UTF-8, no ASCII
            return "its timestamp, signature or body can't be read"
        if abs(age) > LONGEST_AGE:
            return f"its timestamp is {age:.0f} s from our clock: a copy, or one of the clocks is wrong"
        return None if genuine else "its signature is not of this app and body"


class _Hands(SdkClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @override
    def now(self) -> float:
        return self._clock()
