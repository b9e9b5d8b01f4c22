"""Signed links: one page, one expiry, one secret."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.links import VALID_FOR, Links

SECRET = b"0123456789abcdef0123456789abcdef"
ISSUED = 1_795_430_000.0
EVENT = "00018f3ab0c4d5e6f708192a3b4c5d"

links = Links(SECRET, "https://bridge.example.net/")


def parts(url: str | None) -> tuple[str, str, str]:
    """(path, expires, signature) of a link."""
    assert url is not None
    split = urlsplit(url)
    query = parse_qs(split.query, strict_parsing=True)
    return split.path, query["expires"][0], query["signature"][0]


def test_a_link_opens_its_page_until_it_expires() -> None:
    """A link is good up to the second before its expiry, and no longer."""
    path, expires, signature = parts(links.event(EVENT, ISSUED))
    assert path == f"/events/{EVENT}"
    assert int(expires) == ISSUED + VALID_FOR
    assert links.verify(EVENT, expires, signature, ISSUED)
    assert links.verify(EVENT, expires, signature, ISSUED + VALID_FOR - 1)
    assert not links.verify(EVENT, expires, signature, ISSUED + VALID_FOR)


def test_the_same_inputs_give_the_same_link() -> None:
    """A message that is sent again carries the very same link."""
    again = Links(SECRET, "https://bridge.example.net")
    assert links.event(EVENT, ISSUED) == again.event(EVENT, ISSUED)


def test_a_link_opens_no_other_page_and_can_not_be_extended() -> None:
    """Neither another event nor a later expiry fits a genuine signature."""
    _, expires, signature = parts(links.event(EVENT, ISSUED))
    assert not links.verify(EVENT[:-1] + "e", expires, signature, ISSUED)
    assert not links.verify(EVENT, str(int(expires) + 1), signature, ISSUED)
    assert not links.verify(EVENT, "0" + expires, signature, ISSUED)
    assert not links.verify(EVENT, expires, signature + "=", ISSUED)


def test_another_secret_refuses_the_link() -> None:
    """A link signed by another bridge opens nothing here."""
    _, expires, signature = parts(links.event(EVENT, ISSUED))
    other = Links(b"f" * 32, "https://bridge.example.net")
    assert not other.verify(EVENT, expires, signature, ISSUED)


def test_without_an_external_url_no_link_is_written() -> None:
    """An address that nobody can reach is not told."""
    assert Links(SECRET, None).event(EVENT, ISSUED) is None


def test_a_path_in_the_external_url_is_kept() -> None:
    """Behind a proxy that serves the bridge below a path, links hold that path."""
    path, _, _ = parts(Links(SECRET, "https://ops.example.net/cmc/").event(EVENT, ISSUED))
    assert path == f"/cmc/events/{EVENT}"


def test_a_short_secret_is_refused() -> None:
    """A secret that can be guessed signs nothing."""
    with pytest.raises(ValueError, match="16 bytes"):
        Links(b"short", None)


def test_nothing_shows_the_secret() -> None:
    """Neither the object's repr nor its links hold the secret."""
    assert SECRET.decode() not in repr(links) + str(links.event(EVENT, ISSUED))


@given(event_id=st.text(max_size=40), expires=st.text(max_size=20), signature=st.text(max_size=60))
def test_garbage_is_refused_quietly(event_id: str, expires: str, signature: str) -> None:
    """Whatever stands in the address, the answer is no, never an exception."""
    assert not links.verify(event_id, expires, signature, 0.0)


@given(event_id=st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_any_id_survives_the_address(event_id: str) -> None:
    """An id is escaped in the link, stays within the path, and verifies as it was."""
    path, expires, signature = parts(links.event(event_id, ISSUED))
    assert re.fullmatch(r"/events/[^/?#]+", path)
    assert links.verify(event_id, expires, signature, ISSUED)
