"""A chat channel as its readers see it: the job, status and thread of each message."""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cmc_notify.simulator.slack import SlackMessage


class Failed(NamedTuple):
    """One failed feature on one appliance in one job."""

    job: int
    serial: str
    feature: int


class Chat:
    """A channel with one message for each job, identified by the job in its text."""

    def __init__(self, messages: Sequence[SlackMessage]) -> None:
        self._cards = [message for message in messages if message.thread_ts is None]
        self._messages = messages

    @property
    def changes(self) -> int:
        """Return the number of posts and updates of messages, without replies."""
        return sum(len(card.versions) for card in self._cards)

    @property
    def states(self) -> dict[int, str]:
        """Return the status in each job's message; none for a job with two messages."""
        named = Counter(map(_job_of, self._cards))
        return {_job_of(card): _status_of(card) for card in self._cards if named[_job_of(card)] == 1}

    def thread(self, job: int) -> str:
        """Return all text below the job's message, with files."""
        cards = {card.ts for card in self._cards if _job_of(card) == job}
        replies = [message for message in self._messages if message.thread_ts in cards]
        files = [(file.content or b"").decode() for reply in replies for file in reply.files]
        return "\n".join([html.unescape("\n".join(reply.texts)) for reply in replies] + files)

    def holds(self, reasons: Mapping[Failed, str]) -> bool:
        """Return True if each failure's appliance and text are in its job's thread."""
        threads = {job: self.thread(job) for job in {failed.job for failed in reasons}}
        return all(
            failed.serial in threads[failed.job] and text in threads[failed.job]
            for failed, text in reasons.items()
        )


_JOB = re.compile(r"\bjob (\d+)\b")
_STATUS = re.compile(r"\*Status:\* (\w+)")


def _job_of(card: SlackMessage) -> int:
    found = _JOB.search(card.text)
    return int(found[1]) if found else 0


def _status_of(card: SlackMessage) -> str:
    found = _STATUS.search("\n".join(card.texts))
    return found[1] if found else ""
