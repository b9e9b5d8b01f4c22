"""Events with as many failures as can be, and what a reader must be able to find of them.

A text is drawn by Hypothesis, from what controllers are known to send and from all that could break a medium.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import cycle
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.net import safe

URL = "https://bridge.example.net/events/019aaf3c8e?expires=1798104000&signature=c2FtcGxl"
EVIDENT = (EventType.JOB_FAILED, EventType.JOB_SUCCEEDED, EventType.JOB_CANCELED, EventType.APPLIANCE_FAILED)
"""The types that hold failures: final events all of the job's, ``appliance.failed`` the new ones."""
COUNTS = {"1": 1, "50": 50, "10,000": 10_000, "50 of 20 KB": 50}
LONGEST = 20_000

_PLAIN = (
    "Rule 12: class 'voice' is not defined",
    "Time-out after 120 s:\nno answer from 10.20.7.1:22",
    "interface wan0_0: bandwidth 0 is out of range (1..10000000)",
    "Verbindung verweigert: Gegenstelle nicht erreichbar",
)
_FRAGMENTS = (
    *HOSTILE_TEXT.split("\n"),
    HOSTILE_TEXT,
    "<!channel>", "<@U012AB3CD>", "@everyone", "@here", "<@&1234>", "<#99>", "{{ 7*7 }}", "{% raw %}",
    "</script>", "</pre>", "]]>", "```", "``````", "`", "---", "***", "*bold*", "_it_", "~~gone~~",
    "||spoiler||",     "> quote", ">>> all", "# title", "1. one", "- item", "[text](https://evil.example)",
    "https://evil.example/x?a=b&c", "<https://evil.example|click>", "&amp;", "&lt;", "\\", "\\*", "\\\\n",
    "=?utf-8?q?=0d=0aBcc:_x?=", "=HYPERLINK(1)", "\r\n", "\r", "\t", "\x1b[31mred\x1b[0m", "\x07", "\x7f",
    "\x85", "\x9b", "\u202enp.exe", "\u2066", "\u200e", "\u2028", "\u2029", "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f600", "e\u0301", "\ufffd", "%s {0} ${x} #{y}", ".\r\n.\r\nQUIT", "\n\n\n",
    "   indented", "\n    four", "trailing  ", "{{Room}}", "\\u0041", ":fire:", "x" * 90,
)  # fmt: skip


class Cell(NamedTuple):
    """One cell of the table, for one medium."""

    kind: EventType
    size: str
    hostile: bool


def cells() -> tuple[Cell, ...]:
    """All of them. A type that never holds failures has one size, and its job's or its own error alone."""
    several = (*EVIDENT, EventType.APPLIANCE_RECOVERED)
    return tuple(
        Cell(kind, size, hostile)
        for kind in EventType
        for size in (COUNTS if kind in several else ("none",))
        for hostile in (False, True)
    )


_any = st.text(
    # At the wire NUL and lone surrogates become signs. Some media part what would act by U+200B, which is
    # then not to be told from one of the text's own.
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\u200b"),
    max_size=60,
)
hostile_texts = st.lists(st.one_of(st.sampled_from(_FRAGMENTS), _any), min_size=1, max_size=12).map("".join)
plain_texts = st.sampled_from(_PLAIN)


def _sized(text: str, size: int, number: int) -> str:
    """The text repeated to ``size`` characters, different for each ``number``."""
    marked = f"{number}: {text}"
    return (marked + f" {text}" * (size // (len(text) + 1)))[:size]


def texts_of(size: str, pool: Sequence[str], *, distinct: int) -> list[str | None]:
    """The error texts of a size, made of ``pool``: ``distinct`` different ones, each on as many failures."""
    if size == "none":
        return []
    if size == "1":
        return [pool[0][:500]]
    each = min(distinct, COUNTS[size])
    drawn = cycle(pool)
    lengths = cycle((LONGEST,) if size == "50 of 20 KB" else (40, 90, 60, 70, 500, 50, 80, 60))
    made = [_sized(next(drawn), next(lengths), number) for number in range(each)]
    return [made[number % each] for number in range(COUNTS[size])]


def event_of(kind: EventType, texts: Iterable[str | None], error: str | None, *, url: str | None) -> Event:
    """An event with these failures (or as many recoveries), now and then without a name or a serial."""
    found = sample(kind)
    names = [
        (f"V{number:05}" if number % 7 else None, f"edge-{number}" if number % 3 else None, text)
        for number, text in enumerate(texts, 1)
    ]
    job = found.job and msgspec.structs.replace(found.job, error_text=error)
    # A reason is always one line of printable characters.
    reason = None if found.reason is None else safe(error or "")
    found = msgspec.structs.replace(found, url=url, job=job, reason=reason)
    if kind is EventType.APPLIANCE_RECOVERED:
        first = found.recoveries[0]
        recovered = (msgspec.structs.replace(first, serial=it, appliance=name) for it, name, _ in names)
        return msgspec.structs.replace(found, recoveries=tuple(recovered))
    failures = (
        Failure(it, name, 3 if number % 5 else None, "QoS" if number % 5 else None, text, new=number % 2 == 0)
        for number, (it, name, text) in enumerate(names)
    )
    return msgspec.structs.replace(found, failures=tuple(failures))


def legible(text: str) -> str:
    """A text as people must be able to read it; white space at its ends is not seen."""
    return visible(text).strip()


class Evidence:
    """What a reader can see in a medium, searched for texts."""

    def __init__(self, seen: str, *, spaced: bool = False) -> None:
        """``spaced``: the medium shows blank lines as space between its blocks."""
        self._spaced_out = spaced
        self.seen = self._as_shown(seen)
        seen = self.seen
        self._cuts = {int(n.replace(",", "")) for n in re.findall(r"… \(([\d,]+) more characters\)", seen)}

    def _as_shown(self, text: str) -> str:
        if not self._spaced_out:
            return text
        return "\n".join(line.strip() for line in text.split("\n") if line.strip())

    @cached_property
    def _flat(self) -> str:
        return self.seen.replace("\n", "")

    @cached_property
    def _spaced(self) -> str:
        return " ".join(self.seen.split())

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """Where each number stands by which a text may begin: a search for each text takes minutes."""
        places: dict[str, list[int]] = {}
        for found in re.finditer(r"(?:^|(?<=\D))(\d+): ", self.seen):
            places.setdefault(found[1], []).append(found.start())
        return places

    def count(self, event: Event) -> tuple[int, int, int]:
        """Failures whose text is there whole, those whose beginning is, with the exact number of its
        further characters, and those of which nothing is.
        """
        counts = [0, 0, 0]
        known: dict[str | None, int] = {}
        for failure in event.failures:
            text = failure.error_text
            if text not in known:
                known[text] = self._how(text or "")
            counts[known[text]] += 1
        return counts[0], counts[1], counts[2]

    def tells_error(self, event: Event) -> bool:
        """Whether the job's error and the reason are there, whole or begun."""
        error = (event.job and event.job.error_text) or ""
        if self._how(error) > 1:
            return False
        # A reason stands among the facts, on one line.
        reason = " ".join(legible(event.reason or "").split())
        if not reason:
            return True
        return reason in self._spaced or any(
            f"{reason[: len(reason) - cut]}… (" in self._spaced for cut in self._cuts
        )

    def _how(self, text: str) -> int:
        wanted = legible(text)
        if not wanted or self._stands(wanted):
            return 0
        # Where one text takes several sections or messages, a line may be broken between two of them.
        if len(wanted) > 1000 and wanted.replace("\n", "") in self._flat:
            return 0
        for cut in self._cuts:
            begun = visible(text[: len(text) - cut]).lstrip()
            if cut < len(text) and self._stands(f"{begun}… ({cut:,} more characters)"):
                return 1
        return 2

    def _stands(self, text: str) -> bool:
        """Whether it is in what is seen; a numbered text is looked for in its place first."""
        text = self._as_shown(text)
        found = re.match(r"(\d+): ", text)
        if found is None:
            return text in self.seen
        return any(self.seen.startswith(text, place) for place in self._places.get(found[1], ()))
