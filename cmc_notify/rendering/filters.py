"""Our own filters for templates; docs/reference/templates.md describes each for users."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from cmc_notify.core.grouping import group_by_error
from cmc_notify.core.text import shorten
from cmc_notify.rendering.formats import one_line

_ITEM = 80
"""Characters of each item of a limited listing, so that one long name does not make it long."""


class FilterError(ValueError):
    """A filter got a wrong argument; the text says what to write."""


class Named(Protocol):
    """Anything about one appliance: a failure, a recovery, a member of a group."""

    @property
    def serial(self) -> str | None:
        """Return its serial number, if the controller gave one."""
        ...

    @property
    def appliance(self) -> str | None:
        """Return its host name, if the inventory has it."""
        ...


def name(subject: Named, *, mark_new: bool = False, unnamed: str = "unnamed appliance") -> str:
    """Return ``paris-edge-1 (V2AB0001)``, or the known part; with ``mark_new``, ``, new`` for new ones."""
    mark = "new" if mark_new and getattr(subject, "new", False) else None
    first = subject.appliance or subject.serial or unnamed
    serial = subject.serial if subject.serial != first else None
    inside = ", ".join(filter(None, (serial, mark)))
    return f"{first} ({inside})" if inside else first


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 appliance``, ``12 appliances``, ``10,000 entries``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def oneline(text: object) -> str:
    """Return the text on one line."""
    return one_line("" if text is None else str(text))


def indent(text: str, width: int = 4) -> str:
    """Indent each line except the first; Jinja's own filter also breaks lines at other characters."""
    return text.replace("\n", "\n" + " " * width)


def listing(
    items: Iterable[Any],
    limit: int | None = None,
    *,
    mark_new: bool = False,
    more: str = "and {} more",
    unnamed: str = "unnamed appliance",
) -> str:
    """Return ``a, b and 12 more``; items with a serial number appear by name. Without limit, all.

    ``more`` is the end in another language, with ``{}`` for the number. ``unnamed`` is for items without a
    name.
    """
    chosen = list(items)
    words = [
        one_line(item if isinstance(item, str) else name(item, mark_new=mark_new, unnamed=unnamed))
        if isinstance(item, str) or hasattr(item, "serial")
        else str(item)
        for item in chosen[:limit]
    ]
    if limit is not None:
        words = [shorten(word, _ITEM) for word in words]
    rest = len(chosen) - len(words)
    return ", ".join(words) + (f" {more.replace('{}', f'{rest:,}', 1)}" if rest else "")


def appliances(items: Iterable[Named]) -> list[Named]:
    """Return the first item of each appliance among failures or recoveries."""
    found: dict[str | None, Named] = {}
    for item in items:
        found.setdefault(item.serial, item)
    return list(found.values())


def features(items: Iterable[Any]) -> list[str]:
    """Return the different feature names of a job's features, failures, recoveries or groups, in order."""
    names = (item.label if hasattr(item, "label") else item.feature for item in items)
    return list(dict.fromkeys(filter(None, names)))


def duration(start: str | float | None, end: str | None = None) -> str:
    """Return seconds, or the time between two RFC 3339 times, as ``45 s``, ``1 h 12 min``, ``2 d 3 h``."""
    if isinstance(start, str) and isinstance(end, str):
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    elif isinstance(start, int | float):
        seconds = float(start)
    else:
        return "unknown"
    if seconds < 0:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next((place for place, (number, _) in enumerate(units) if number), len(units) - 1)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number) or "0 s"


_DONE, _OPEN = "▓", "░"
_WIDEST_BAR = 100


def bar(done: int, total: int, width: int = 12) -> str:
    """Return ``▓▓▓▓▓▓▓░░░░░ 58 %``: full only at the end, not empty once one is done; nothing for total 0."""
    if total <= 0:
        return ""
    done, width = min(max(done, 0), total), min(max(width, 2), _WIDEST_BAR)
    blocks = width * done // total or min(done, 1)
    return f"{_DONE * blocks}{_OPEN * (width - blocks)} {100 * done // total} %"


_LONGEST_ADDRESS = 500
_NOT_IN_A_LINK = {character: f"%{ord(character):02X}" for character in "<>|\"'`\\^{}"}


def address(url: str | None) -> str:
    """Return the address in a form that is safe in any format's link, or empty text.

    Empty for none, a scheme other than http(s), white space or invisible characters, and more than 500
    characters.
    """
    found = (url or "").strip()
    usable = found.startswith(("https://", "http://")) and found.isprintable() and " " not in found
    encoded = "".join(_NOT_IN_A_LINK.get(character, character) for character in found)
    return encoded if usable and len(encoded) <= _LONGEST_ADDRESS else ""


def times(zone: ZoneInfo) -> Callable[..., str]:
    """Return the filter ``time`` (also ``localtime``): ``2026-11-23 10:20:00 CET``, ``unknown`` without one.

    In ``zone``, or in the one that the template names: ``localtime("Europe/Berlin")``.
    """

    def time(moment: str | None, named: str | None = None, *, unknown: str = "unknown") -> str:
        if not moment:
            return unknown
        try:
            chosen = ZoneInfo(named) if named else zone
        except (KeyError, ValueError, OSError) as error:
            raise FilterError(
                f"there is no time zone {named!r}; write a name such as Europe/Berlin"
            ) from error
        return datetime.fromisoformat(moment).astimezone(chosen).strftime("%Y-%m-%d %H:%M:%S %Z")

    return time


def all_filters(zone: ZoneInfo) -> dict[str, Callable[..., Any]]:
    """Return every filter of this module by its name in templates."""
    plain: Sequence[Callable[..., Any]] = (
        name,
        plural,
        oneline,
        shorten,
        indent,
        listing,
        appliances,
        features,
        duration,
        bar,
        address,
    )
    local = times(zone)
    named: dict[str, Callable[..., Any]] = {"time": local, "localtime": local, "by_error": group_by_error}
    return {**named, **{each.__name__: each for each in plain}}
