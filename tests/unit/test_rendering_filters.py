"""The filters of the templates."""

from zoneinfo import ZoneInfo

import pytest

from cmc_notify.core.events import Failure, FeatureRef
from cmc_notify.core.grouping import Member
from cmc_notify.rendering.filters import (
    FilterError,
    address,
    all_filters,
    appliances,
    bar,
    duration,
    features,
    indent,
    listing,
    name,
    oneline,
    plural,
    shorten,
    times,
)


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("UTC", "2026-11-23T09:20:00Z", "2026-11-23 09:20:00 UTC"),
        ("Europe/Paris", "2026-11-23T09:20:00Z", "2026-11-23 10:20:00 CET"),
        ("Europe/Paris", "2026-07-01T23:20:00Z", "2026-07-02 01:20:00 CEST"),
        ("UTC", None, "unknown"),
        ("UTC", "", "unknown"),
    ],
)
def test_times_are_local(zone: str, moment: str | None, shown: str) -> None:
    """A UTC time of a document reads in the configured zone, summer time included."""
    assert times(ZoneInfo(zone))(moment) == shown


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (0, None, "0 s"),
        (59.6, None, "1 min"),
        (3600, None, "1 h"),
        (3661, None, "1 h 1 min"),
        (3 * 86400 + 3 * 3600 + 59, None, "3 d 3 h"),
        ("2026-11-23T09:00:00Z", "2026-11-23T09:02:05Z", "2 min 5 s"),
        ("2026-11-23T09:00:00Z", "2026-11-23T08:00:00Z", "unknown"),
        (None, "2026-11-23T08:00:00Z", "unknown"),
    ],
)
def test_durations_have_two_units(start: str | float | None, end: str | None, shown: str) -> None:
    """The two largest units tell a duration; one that can't be is unknown."""
    assert duration(start, end) == shown


@pytest.mark.parametrize(
    ("member", "shown", "marked"),
    [
        (Member("S1", "paris", new=True), "paris (S1)", "paris (S1, new)"),
        (Member("S1", None, new=True), "S1", "S1 (new)"),
        (Member(None, "paris", new=False), "paris", "paris"),
        (Member("same", "same", new=False), "same", "same"),
        (Member(None, None, new=True), "unnamed appliance", "unnamed appliance (new)"),
    ],
)
def test_appliances_are_named(member: Member, shown: str, marked: str) -> None:
    """Host name and serial, whichever are known, and whether it is new."""
    assert name(member) == shown
    assert name(member, mark_new=True) == marked


def test_listings_count_what_they_leave_out() -> None:
    """A limit shows the first and the number of the others; no limit shows all, whatever they are."""
    assert listing(["a", "b", "c"]) == "a, b, c"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listing(["a", "b"], 2) == "a, b"
    assert listing([], 2) == ""
    assert listing([7, 8], 1) == "7 and 1 more"
    assert listing([Member("S1", "par\nis", new=True)], mark_new=True) == "par is (S1, new)"
    assert listing(["x" * 100], 1) == "x" * 80 + "… (20 more characters)"
    assert listing([str(number) for number in range(2000)], 1) == "0 and 1,999 more"


def test_small_ones() -> None:
    """Plural, one line, shorten, indent."""
    assert plural(1, "entry", "entries") == "1 entry"
    assert plural(10_000, "entry", "entries") == "10,000 entries"
    assert plural(0, "appliance") == "0 appliances"
    assert oneline(" a\r\n\tb\x1b\u2028c ") == "a b c"
    assert oneline(None) == ""
    assert shorten("abcdef", 3) == "abc… (3 more characters)"
    assert shorten("abc", 3) == "abc"
    assert shorten("abc" * 1000, None) == "abc" * 1000
    assert indent("a\nb\u2028c\n") == "a\n    b\u2028c\n    "


def test_distinct_appliances_and_features() -> None:
    """Each appliance counts once, each feature is named once."""
    members = [Member("S1", "a", new=True), Member("S2", None, new=True), Member("S1", "a", new=False)]
    assert appliances(members) == members[:2]
    assert features([FeatureRef(3, "qos", "QoS"), FeatureRef(4, "qos2", "QoS")]) == ["QoS"]


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59 CET"),
        ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00 CEST"),
        ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00 CEST"),
        ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00 CET"),
    ],
)
def test_a_named_zone_keeps_its_summer_time(moment: str, shown: str) -> None:
    """On the nights of the change the hour that is left out or comes twice is clear by its zone."""
    assert times(ZoneInfo("UTC"))(moment, "Europe/Berlin") == shown


@pytest.mark.parametrize("zone", ["Europe/Berln", "../../etc/passwd", "/etc/passwd"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    """The error says which, and how one is written."""
    with pytest.raises(FilterError, match=r"there is no time zone .*; write a name such as Europe/Berlin"):
        times(ZoneInfo("UTC"))("2026-03-29T00:59:59Z", zone)


def test_listings_can_be_translated() -> None:
    """The end and the name of what has none can be given."""
    nameless = Member(None, None, new=False)
    assert listing([nameless, "b", "c"], 1, more="und {} weitere", unnamed="ohne Namen") == (
        "ohne Namen und 2 weitere"
    )


def test_identical_errors_are_one_group_whatever_the_feature() -> None:
    """The longest group first, each with the features and every failure that it is made of."""
    a, b, c = (
        Failure("V1", None, 1, "QoS", "rare", new=True),
        Failure("V2", None, 1, "QoS", "common", new=True),
        Failure("V3", None, 2, "SNMP", "common", new=False),
    )
    first, second = all_filters(ZoneInfo("UTC"))["by_error"]([a, b, c])
    assert (first.error_text, first.features, first.members, first.new) == (
        "common",
        ("QoS", "SNMP"),
        (b, c),
        1,
    )
    assert second.members == (a,)


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (0, 12, "░░░░░░░░░░░░ 0 %"),
        (1, 10_000, "▓░░░░░░░░░░░ 0 %"),
        (7, 12, "▓▓▓▓▓▓▓░░░░░ 58 %"),
        (9_999, 10_000, "▓▓▓▓▓▓▓▓▓▓▓░ 99 %"),
        (12, 12, "▓▓▓▓▓▓▓▓▓▓▓▓ 100 %"),
        (13, 12, "▓▓▓▓▓▓▓▓▓▓▓▓ 100 %"),
        (0, 0, ""),
    ],
)
def test_a_bar_is_full_only_at_the_end(done: int, total: int, shown: str) -> None:
    """And it is empty only where nothing is done; a job without rows has none."""
    assert bar(done, total) == shown


@pytest.mark.parametrize("width", [-1, 0, 5, 10_000_000])
def test_a_bar_has_a_reasonable_width(width: int) -> None:
    """Whatever a template asks for."""
    blocks, _, _ = bar(1, 2, width).partition(" ")
    assert 2 <= len(blocks) <= 100


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://snow.example.net/nav?uri=a&b=1", "https://snow.example.net/nav?uri=a&b=1"),
        ("https://x.example/<!channel>|me", "https://x.example/%3C!channel%3E%7Cme"),
        ("https://x.example/\"onclick='x", "https://x.example/%22onclick=%27x"),
        ("javascript:alert(1)", ""),
        ("https://x.example/a b", ""),
        ("https://x.example/a\nb", ""),
        ("https://x.example/" + "a" * 500, ""),
        (None, ""),
    ],
)
def test_an_address_can_end_no_link(url: str | None, shown: str) -> None:
    """A ticketing system's address is outside text, too; one that is not for a link is left out."""
    assert address(url) == shown
