"""Another language is a folder of words: no template has to be copied for it."""

import re
from pathlib import Path

import msgspec
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample
from cmc_notify.ports import Acknowledgement, Message, Silenced, Ticket
from cmc_notify.rendering import Renderer, check_templates

GERMAN = Path(__file__).parents[2] / "fixtures" / "german"
ENGLISH = re.compile(
    r"\b(job|failed|appliances?|works again|Status|Targets|Completed|took|Results|Backup|All details"
    r"|deliveries|more failures?|outside|attached|nothing has happened|repeat"
    r"|so far|thread|Acknowledged|Silenced|until|open|closed|and \d+ more)\b"
)
TICKETS = tuple(Ticket("snow", "job:emea:42", f"INC{n}", None, open=n == 1) for n in range(1, 13))
TAKEN = Acknowledgement("anna", 1795425600.0)
UNSEEN = re.compile(r"<style>.*?</style>|https?://[^\s|>\"]+|<[^>]*>", re.DOTALL)


@pytest.mark.parametrize(
    ("sink", "extensions"),
    [("console", ("txt",)), ("email", ("subject", "txt", "html")), ("slack", ("card", "mrkdwn", "txt"))],
)
def test_a_german_folder_gives_german_text_in_every_sink(sink: str, extensions: tuple[str, ...]) -> None:
    """Headlines, labels, notes and lists are German for every event, and no template fails."""
    renderer = Renderer([GERMAN], timezone="Europe/Berlin")
    assert check_templates(renderer, sink, extensions) == []
    for kind in EventType:
        event = msgspec.structs.replace(
            sample(kind), failures_outside_route=3, failures_omitted=2, reason=None
        )
        for extension in extensions:
            for brief in (False, True):
                message = Message(
                    key="k",
                    event=event,
                    is_test=True,
                    unclear=True,
                    tickets=TICKETS,
                    acknowledged=TAKEN,
                    silenced=Silenced("anna", 1795425600.0, with_job=brief),
                )
                text = renderer.render_strictly(sink, extension, message, brief=brief)
                found = ENGLISH.search(UNSEEN.sub("", text))
                assert not found, (kind, extension, found, text)


def test_the_german_words_are_in_their_places() -> None:
    """Counts, names of things and local times read as a German reader expects them."""
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    text = Renderer([GERMAN], timezone="Europe/Berlin").render_strictly("email", "txt", message)
    assert text.startswith("emea: Auftrag 42 gescheitert: 4 von 6 Geräte (QoS, SNMP)")
    assert "QoS gescheitert auf 2 Geräte, 1 neu" in text
    assert "Beendet:    2026-11-23 10:19:35 CET, Dauer 7 min 5 s" in text
    assert "ohne Fehlertext" in text
