"""Poll one controller and commit each change with its events; never wait for a delivery."""

from cmc_notify.poller.notify_rules import NotifyRules
from cmc_notify.poller.poller import Poller, PollResult

__all__ = ["NotifyRules", "PollResult", "Poller"]
