"""Every error text reaches the reader: each event type, at each sink, in each size, plain and hostile.

Each message goes through the real sink to a server that refuses what breaks a limit. Then every text is
looked for in all that a reader can see there. Where a medium can't hold it, the message must say how many are
missing and link to the page, and the page (one of the media here) holds every text.

``COMPLETENESS_EXAMPLES`` (1 unless set) says how often texts are drawn.
"""

import asyncio
import os
import re
from contextlib import AsyncExitStack
from typing import NamedTuple, Self

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Sent
from cmc_notify.core.samples import HOSTILE_TEXT
from cmc_notify.ports import Message
from cmc_notify.sinks.plugin import load_plugins
from support.large_events import (
    EVIDENT,
    URL,
    Cell,
    Evidence,
    cells,
    event_of,
    hostile_texts,
    plain_texts,
    texts_of,
)
from support.recorded_parts import Parts
from support.sink_readers.base import Medium
from support.sink_readers.every import MEDIA

EXAMPLES = int(os.environ.get("COMPLETENESS_EXAMPLES", "1"))
PHASES = [Phase.generate] if EXAMPLES <= 2 else [*Phase]
"""To shrink what is found takes minutes: that is for whoever looks for more."""
LARGE = "10,000"


class Stage:
    """One medium with its server, in a loop of its own, for as many messages as Hypothesis draws."""

    def __init__(self, name: str) -> None:
        self.medium: Medium = MEDIA[name]()
        self.ran: set[Cell] = set()
        self.sent = 0
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._runner.run(self.medium.open(self._stack))
        return self

    def __exit__(self, *_error: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def send(self, cell: Cell, texts: list[str | None], error: str | None, *, url: str | None = URL) -> None:
        """Send one event and look for everything in it."""
        event = event_of(cell.kind, texts, error, url=url)
        self.sent += 1
        key = f"key{self.sent}"
        outcome = self._runner.run(self.medium.sink.send(Message(key=key, event=event, subject=key), Parts()))
        assert isinstance(outcome, Sent), (cell, outcome)
        found = Evidence(self.medium.seen(), spaced=self.medium.spaced)
        whole, begun, missing = found.count(event)
        assert whole + begun + missing == len(event.failures)
        if self.medium.complete:
            assert (begun, missing) == (0, 0), (cell, begun, missing)
            assert found.tells_error(event), (cell, error)
        elif missing or begun or not found.tells_error(event):
            assert url is None or url in found.seen, (cell, missing, begun)
            assert url is not None or re.search(r"ledger|external_url", found.seen)
            if missing:
                assert re.search(rf"(?<![\d,]){missing:,}\*? (?:more )?failures?\b", found.seen), (
                    cell,
                    missing,
                )
        self.ran.add(cell)


def test_every_sink_and_preset_is_in_the_table() -> None:
    """Nothing that can be configured is left out, and every type of event has its cells."""
    plugins = load_plugins()
    configurable = {*plugins, *(preset for plugin in plugins.values() for preset in plugin.presets)}
    assert {kind for kind in configurable if not any(name.startswith(kind) for name in MEDIA)} == set()
    assert {cell.kind for cell in cells()} == {*EventType}
    assert len(cells()) == 2 * (4 * (len(EVIDENT) + 1) + len(EventType) - len(EVIDENT) - 1)


class Drawn(NamedTuple):
    """The values that one example puts into a cell."""

    pools: dict[bool, list[str]]
    """By whether the cell is hostile."""
    distinct: int
    nothing: bool
    """True if the first failure has no text."""
    url: str | None

    def fill(self, harness: Stage, cell: Cell) -> None:
        """Send the cell's event."""
        pool = self.pools[cell.hostile]
        texts = texts_of(cell.size, pool, distinct=self.distinct)
        if self.nothing:
            texts = [None, *texts[1:]] if texts else texts
        error = pool[-1] if not texts or cell.size == "1" else None
        harness.send(cell, texts, error, url=self.url)


draws = st.builds(
    Drawn,
    pools=st.fixed_dictionaries(
        {
            True: st.lists(hostile_texts, min_size=3, max_size=6),
            False: st.lists(plain_texts, min_size=3, max_size=6),
        }
    ),
    distinct=st.sampled_from([50, 1, 7]),
    nothing=st.booleans(),
    url=st.sampled_from([URL, None]),
)
SMALL = tuple(cell for cell in cells() if cell.size != LARGE)
HANDY = tuple(cell for cell in SMALL if cell.size in ("1", "50"))


def played(examples: int) -> settings:
    """So many examples, at whatever pace."""
    return settings(max_examples=examples, deadline=None, phases=PHASES, suppress_health_check=[*HealthCheck])


@pytest.mark.parametrize("name", MEDIA)
def test_every_text_reaches_the_reader(name: str) -> None:
    """Texts drawn anew, all equal, all different or without any, in every small cell; all are counted."""
    with Stage(name) as harness:

        @played(EXAMPLES)
        @given(drawn=draws)
        def sweep(drawn: Drawn) -> None:
            for cell in SMALL:
                drawn.fill(harness, cell)

        sweep()
        assert harness.ran == {*SMALL}


@pytest.mark.parametrize("name", MEDIA)
def test_any_text_reaches_the_reader(name: str) -> None:
    """The same with many more texts, a cell of up to 50 failures for each."""
    with Stage(name) as harness:

        @played(40 * EXAMPLES)
        @given(drawn=draws, cell=st.sampled_from(HANDY))
        def dig(drawn: Drawn, cell: Cell) -> None:
            drawn.fill(harness, cell)

        dig()


@pytest.mark.parametrize("name", MEDIA)
def test_ten_thousand_texts_reach_the_reader(name: str) -> None:
    """The same with 10,000 failures: all different where a job failed, else twenty texts."""
    pool = {
        False: ["Rule 12: class 'voice'\nis not defined"],
        True: [HOSTILE_TEXT, "<!channel> ``` @here & *"],
    }
    with Stage(name) as harness:
        for cell in cells():
            if cell in SMALL:
                continue
            every = cell.kind is EventType.JOB_FAILED and cell.hostile
            texts = texts_of(cell.size, pool[cell.hostile], distinct=10_000 if every else 20)
            harness.send(cell, texts, None)
        assert len(harness.ran) == 2 * (len(EVIDENT) + 1)
