"""What the simulator served, read by the vendor's page and cut into polls; nothing of the bridge is in it.

Polls are told apart by their requests: the full list, a list asked in a form already asked, one after a
look by id, and one after a list that failed each begin a new one.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cmc_notify.simulator import Request

Pair = tuple[str | None, int | None]

FINISHED = {"success": "job.succeeded", "failed": "job.failed", "canceled": "job.canceled"}
_YEAR_10000 = 253_402_300_800
_BY_ID = re.compile(r"/jobs/items/(\d+)$")


@dataclass(frozen=True)
class Seen:
    """One look at one job, read by the vendor's page."""

    id: int
    status: str
    created: int | None
    pushed: int | None
    completed: int | None
    pre_push: bool
    rows: Mapping[Pair, str]
    """``failed``, ``success`` or ``open`` by pair."""

    @property
    def order(self) -> tuple[int, int]:
        """What is later has the greater one."""
        times = (self.completed, self.pushed, self.created)
        return next((time for time in times if time is not None), 0), self.id

    @property
    def settling(self) -> bool:
        """Whether the details of a failure are still to come."""
        unfinished = "open" in self.rows.values()
        return self.status == "failed" and (unfinished or not (self.rows or self.pre_push))

    def filled(self, before: "Seen") -> "Seen":
        """With the times that were known and are not shown now."""

        def known(now: int | None, then: int | None) -> int | None:
            return then if now is None else now

        return replace(
            self,
            created=known(self.created, before.created),
            pushed=known(self.pushed, before.pushed),
            completed=known(self.completed, before.completed),
        )

    def pairs(self, outcome: str) -> set[Pair]:
        """The pairs with this outcome."""
        return {pair for pair, value in self.rows.items() if value == outcome}


def read(document: Any) -> Seen | None:
    """Read a list item; None for one that no reader can take for a job."""
    if not isinstance(document, dict):
        return None
    number = next((n for n in (document.get("id"), document.get("idx")) if _is_int(n)), None)
    status = document.get("job_status")
    details = document.get("detailed_status") or []
    readable = isinstance(status, str) and isinstance(details, list)
    if number is None or not readable or not all(isinstance(row, dict) for row in details):
        return None
    rows: dict[Pair, str] = {}
    for row in details:
        pair = (row.get("serialnum"), row.get("feature_id"))
        if rows.get(pair) != "failed":
            rows[pair] = {"fail": "failed", "success": "success"}.get(
                str(row.get("result")).casefold(), "open"
            )
    return Seen(
        id=number,
        status=_plain_status(str(status)),
        created=_time(document.get("creation_time")),
        pushed=_time(document.get("push_time")),
        completed=_time(document.get("completion_time")),
        pre_push=bool(document.get("error_text")),
        rows=rows,
    )


def _plain_status(word: str) -> str:
    plain = word.strip().replace("_", "").casefold()
    return "canceled" if plain == "cancelled" else plain


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _time(value: object) -> int | None:
    return value if isinstance(value, int) and _is_int(value) and 0 <= value < _YEAR_10000 else None


@dataclass
class Poll:
    """The job requests of one poll, as far as the wire tells."""

    requests: list[Request] = field(default_factory=list)
    lost: bool = False
    """Whether one of its lists failed."""


def polls(requests: Iterable[Request]) -> list[Poll]:
    """Cut the record of requests into polls."""
    result = [Poll()]
    forms: set[tuple[str, ...]] = set()
    by_id_seen = False
    for entry in requests:
        parts = urlsplit(entry.target)
        if entry.method != "GET" or "/jobs" not in parts.path:
            continue
        by_id = looked_up(entry) is not None
        if not by_id:
            form = tuple(n if n != "job_status" else f"{n}={v}" for n, v in parse_qsl(parts.query))
            if not form or form in forms or by_id_seen or result[-1].lost:
                result.append(Poll())
                forms, by_id_seen = set(), False
            forms.add(form)
            result[-1].lost |= not (entry.complete and entry.status == 200)
        by_id_seen |= by_id
        result[-1].requests.append(entry)
    return result


def looked_up(entry: Request) -> int | None:
    """The job id that the request asks for; None for a list."""
    found = _BY_ID.search(urlsplit(entry.target).path)
    return int(found[1]) if found else None


def is_full(entry: Request) -> bool:
    """Whether the request was answered with the full list."""
    return entry.complete and entry.status == 200 and entry.target.endswith("/jobs")


def doubted(cut: Sequence[Poll], doubtful: Collection[int]) -> set[int]:
    """The numbers of the requests whose looks may not have counted."""
    numbers = ({entry.number for entry in poll.requests} for poll in cut if poll.requests)
    lost = {entry.number for poll in cut if poll.lost for entry in poll.requests}
    return lost.union(*(poll for poll in numbers if poll & set(doubtful)))
