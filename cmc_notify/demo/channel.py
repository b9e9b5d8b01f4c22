"""A chat channel as its readers see it: whose each message is, what it shows, what its thread holds."""

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
    """A channel in which each job has one message, told apart by the job that it names."""

    def __init__(self, messages: Sequence[SlackMessage]) -> None:
        self._cards = [message for message in messages if message.thread_ts is None]
        self._messages = messages

    @property
    def changes(self) -> int:
        """How often a message was posted or brought up to date, replies aside."""
        return sum(len(card.versions) for card in self._cards)

    @property
    def states(self) -> dict[int, str]:
        """The status that each job's message shows; none where a job has two."""
        named = Counter(map(_job_of, self._cards))
        return {_job_of(card): _status_of(card) for card in self._cards if named[_job_of(card)] == 1}

    def thread(self, job: int) -> str:
        """Everything beneath the job's message, files too."""
        cards = {card.ts for card in self._cards if _job_of(card) == job}
        replies = [message for message in self._messages if message.thread_ts in cards]
        files = [(file.content or b"").decode() for reply in replies for file in reply.files]
        return "\n".join([html.unescape("\n".join(reply.texts)) for reply in replies] + files)

    def holds(self, reasons: Mapping[Failed, str]) -> bool:
        """Whether each failure's appliance and text stand in its job's thread."""
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
