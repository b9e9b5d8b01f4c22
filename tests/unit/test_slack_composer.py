"""The messages for an event: whole, brief with files, or continued."""

from itertools import pairwise

import msgspec
import pytest

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.sinks.slack.composer import SNIPPET, Composer


class Bare:
    """A user's template that knows neither brevity nor what is left out."""

    def render(
        self,
        sink_type: str,
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """A headline that shows how the message was asked for, and every text."""
        assert size_limits is None
        del sink_type, extension, brief
        event = message.event
        texts = [failure.error_text or "" for failure in event.failures]
        texts += [f"{recovery.serial} is well" for recovery in event.recoveries]
        return Rendered("\n".join([f"Headline {message.unclear} {message.attempt}", *texts]))


def message(event: Event, *texts: str) -> Message:
    """The event with one failure for each text."""
    failures = tuple(Failure("V2", "edge", 3, "QoS", text, new=True) for text in texts)
    changed = msgspec.structs.replace(event, failures=failures) if texts else event
    return Message(key="key1", event=changed)


def posted(composer: Composer) -> list[str]:
    """The texts of each continued message."""
    return [
        "\n".join(block["text"]["text"] for block in payload["blocks"] if "text" in block)
        for payload in composer.continued()
    ]


@pytest.mark.parametrize("url", ["https://bridge.example.net/e?a=1&b=2|<x>", None])
def test_a_template_that_says_nothing_of_the_rest_is_helped(url: str | None) -> None:
    """The last message gives the exact number of failures left out, and the link, safe in mrkdwn."""
    event = msgspec.structs.replace(sample(EventType.JOB_FAILED), url=url)
    texts = [f"error {number:05} ".ljust(300, "x") for number in range(2000)]
    shown = posted(Composer(Bare(), message(event, *texts)))
    left = 2000 - sum(text in "".join(shown) for text in texts)
    assert 0 < left < 2000
    assert f"*{left:,} more failures* are not in these messages." in shown[-1]
    expected = (
        "<https://bridge.example.net/e?a=1&amp;b=2%7C%3Cx%3E|The complete list>" if url else "external_url"
    )
    assert expected in shown[-1]


def test_recoveries_that_are_left_out_are_counted_too() -> None:
    """Ten thousand appliances that are well again are no reason for a silent cut."""
    event = sample(EventType.APPLIANCE_RECOVERED)
    many = tuple(
        msgspec.structs.replace(event.recoveries[0], serial=f"V{number:099}") for number in range(5000)
    )
    shown = posted(Composer(Bare(), message(msgspec.structs.replace(event, recoveries=many))))
    left = 5000 - sum(text.count(" is well") for text in shown)
    assert f"*{left:,} more recoveries* are not" in shown[-1]


def test_one_failure_too_long_for_all_messages_is_counted() -> None:
    """If not even the first failure fits, all of them are reported as missing."""
    event = sample(EventType.JOB_FAILED)
    shown = posted(Composer(Bare(), message(event, "x" * 200_000)))
    assert "*1 failure* is not in these messages." in shown[-1]


def test_a_later_attempt_is_cut_at_the_same_places() -> None:
    """Doubt, attempt and accepted parts change nothing in the text, whatever a template makes of them."""
    first = message(sample(EventType.JOB_FAILED))
    later = msgspec.structs.replace(first, unclear=True, attempt=3, parts={"message": "C:1"})
    assert Composer(Bare(), later).whole() == Composer(Bare(), first).whole()


def test_files_are_cut_at_line_breaks_and_lose_nothing() -> None:
    """Each is at most 1 MB and good UTF-8; only a line that is longer than a file is cut inside."""
    lines = ["é" * 300 for _ in range(4000)] + ["€" * 700_000]
    files = Composer(Bare(), message(sample(EventType.JOB_FAILED), *lines)).files()
    assert len(files) > 3
    assert all(len(file.content) <= SNIPPET for file in files)
    assert "".join(file.content.decode() for file in files).endswith("\n".join(lines))
    cuts = [before.content.endswith(b"\n") for before, _ in pairwise(files)]
    assert cuts.count(False) <= 2
    assert len({file.title for file in files}) == len(files)
    assert all(file.title.endswith(file.mark) for file in files)
