"""Bodies split to raw items: one bad item never hides the others, and half a list is no list."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.controller.listing import NotAList, list_items, single_item, split
from cmc_notify.controller.wire import clean
from cmc_notify.errors import MalformedJob


def pieces(body: bytes) -> list[bytes]:
    """The raw items of a body."""
    return [bytes(raw) for raw in split(body)]


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id":1},{"id":2}]',
        b' \n[ {"id":1} ,\t{"id":2} ] ',
        b'\xef\xbb\xbf[{"id":1},{"id":2}]',
        b'{"jobs": [{"id":1},{"id":2}]}',
        b'{"total": 2, "page": {"a": 1, "b": 2}, "items": [{"id":1},{"id":2}], "next": null}',
        b'[{"id":1},{"id":2},]',
    ],
)
def test_a_list_comes_bare_or_in_an_object(body: bytes) -> None:
    """A bare array, and an object with one array, give the same items."""
    assert pieces(body) == [b'{"id":1}', b'{"id":2}']


def test_an_empty_list_is_a_list() -> None:
    """A controller without jobs answers an empty list, which is no error."""
    assert pieces(b"[]") == pieces(b'{"jobs": [ ]}') == pieces(b"[ \n ]") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"17",
        b'"[]"',
        b"{}",
        b'{"jobs": null}',
        b'{"a": [], "b": []}',
        b'{"error_id": "INTERNAL_ERROR"}',
        b"<html>[not today]</html>",
        b'[{"id":1},{"id":2}',
        b'[{"id":1},{"id":2',
        b'[{"id":1}] [{"id":2}]',
        b'[{"id":1}}',
        b'[{"id":1}]]',
        b'{"jobs": [{"id":1}}]',
        b'[{"id":1, "error_text": "' + b"x" * 300_000,
        b"[" * 100_000,
    ],
)
def test_what_is_not_one_whole_list_is_refused(body: bytes) -> None:
    """A cut, ambiguous or foreign body gives no items at all: nothing is taken for vanished."""
    with pytest.raises(NotAList):
        split(body)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id":2,"error_text":"\\ud800"}',
        b'{"id":2,"error_text":"\\udc00\\ud800"}',
        b'{"id":2,"error_text":"\xff"}',
        b'{"id":2,"error_text":"\x01"}',
        b'{"id":2,"error_text":"line\nline"}',
        b'{"id":2,"error_text":"C:\\x [ { \\" ]"}',
        b'{"id":2,"creation_time":NaN}',
        b'{"id":2,"creation_time":007}',
        b'{"id":2,"creation_time":1e999}',
        b'{"id":2,,}',
        b'{"id":2,"error_text":"a "quoted" word"}',
        b"nonsense",
    ],
)
@pytest.mark.parametrize("frame", [b"[%s]", b'{"total": 3, "jobs": [%s]}'])
def test_one_bad_item_never_hides_the_others(bad: bytes, frame: bytes) -> None:
    """Beside an item that JSON forbids, the good ones are read, in their order and to the last byte."""
    before, after = b'{"id":1,"error_text":"[a], {b} \\\\"}', b'{"id":3,"error_text":"\\ud83d\\udca5"}'
    items = list_items(frame % b",".join([before, bad, after]))
    assert len(items) == 3
    assert items[0].decode().error_text == "[a], {b} \\"
    assert items[2].decode().error_text == "\U0001f4a5"
    try:
        assert items[1].decode().id == 2
    except MalformedJob as error:
        assert error.job_id == (None if bad == b"nonsense" else 2)  # noqa: PT017  both ends are right


def test_a_repaired_text_is_the_text() -> None:
    """Raw control characters and surrogates replaced for the splitter arrive as they came, or replaced."""
    body = b'[{"id":1,"error_text":"\\\\ud800 \\ud800 \x01\x1b \\ud83d\\udca5\x00"}]'
    assert list_items(body)[0].decode().error_text == "\\ud800 \ufffd \x01\x1b \U0001f4a5\u2400"


def test_the_digest_follows_the_bytes_of_its_item_alone() -> None:
    """Equal bytes give equal digests of 16 bytes wherever the item stands; one changed byte another."""
    first, second, third = (item.digest for item in list_items(b'[{"id":1}, {"id":1},{"id":2}]'))
    assert first == second != third
    assert first == list_items(b'{"jobs":[{"id":1}]}')[0].digest == single_item(b' {"id":1}\n').digest
    assert len(first) == 16


def test_a_body_that_is_no_object_is_no_job() -> None:
    """The look-up of one job refuses a web page or a list; decode() judges an object."""
    for body in (b"", b"<html></html>", b"[]", b'{"id": 1'):
        with pytest.raises(NotAList):
            single_item(body)
    with pytest.raises(MalformedJob):
        single_item(b'{"id": 1, }').decode()
    assert single_item(b'{"id": 1}').decode().id == 1


@given(st.lists(st.text(st.characters()), min_size=1, max_size=5), st.booleans())
def test_texts_survive_splitting_whatever_they_hold(texts: list[str], wrapped: bool) -> None:
    """Each item's text is the one that was sent, with only NUL and lone surrogates replaced."""
    jobs = [{"id": place, "error_text": f"!{text}"} for place, text in enumerate(texts)]
    body = json.dumps({"jobs": jobs} if wrapped else jobs).encode()
    joined = [json.loads(json.dumps(text)) for text in texts]  # two halves side by side are one character
    assert [item.decode().error_text for item in list_items(body)] == [clean(f"!{text}") for text in joined]


@given(st.binary(max_size=80) | st.text('[]{},":\\a1 ').map(str.encode))
def test_any_bytes_give_items_or_not_a_list(body: bytes) -> None:
    """No body raises anything but NotAList."""
    try:
        split(body)
    except NotAList:
        return
