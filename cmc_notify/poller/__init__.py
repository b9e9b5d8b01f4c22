"""Asks one controller what changed and commits what is to be told; never waits for a delivery."""

from cmc_notify.poller.poller import Poller, PollResult

__all__ = ["PollResult", "Poller"]
