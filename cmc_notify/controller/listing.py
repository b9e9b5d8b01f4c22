"""Split a body into its raw items: one bad item never hides the others.

The fast way is msgspec's, which finds the items of 37 MB without building an object. It refuses a whole
body for one lone surrogate escape or one raw control character, so two slower ways follow:
replace just these, then find the items by their brackets alone and decode each on its own.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from cmc_notify.controller.wire import decode_job
from cmc_notify.core.model import Job

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"

_ESCAPE = re.compile(
    rb"""\\(?:
        (?P<whole>\\|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})  # a backslash, a pair
      | u[dD][89a-fA-F][0-9a-fA-F]{2})                                          # half a pair
    """,
    re.VERBOSE,
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_STRUCTURE = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{},])', re.DOTALL)


class NotAList(ValueError):
    """The body does not hold a list of items."""


class ListedItem:
    """One raw item of a list; a ``ports.ListedJob``. Keeps the body that it came with alive."""

    __slots__ = ("_raw", "digest")

    def __init__(self, raw: msgspec.Raw | bytes) -> None:
        self._raw = raw
        self.digest = blake2b(raw, digest_size=16).digest()

    def decode(self) -> Job:
        """Return the job. Raises MalformedJob, with the id if one is found."""
        return decode_job(bytes(self._raw))


def list_items(body: bytes) -> list[ListedItem]:
    """Return the items of a list with their digests. Raises NotAList."""
    return [ListedItem(raw) for raw in split(body)]


def single_item(body: bytes) -> ListedItem:
    """Return the item of a body that is one object; its content is checked when decoded.

    Raises NotAList for any other body.
    """
    body = body.removeprefix(_BOM).strip(_BLANK)
    if not body.startswith(b"{") or not body.endswith(b"}"):
        raise NotAList("the response is not a JSON object")
    return ListedItem(body)


def split(body: bytes) -> Sequence[msgspec.Raw | bytes]:
    """Return the raw items of a bare array, or of the one array in an object. Raises NotAList."""
    body = body.removeprefix(_BOM)
    try:
        return _split_strictly(body)
    except _REFUSED:
        replaced = replace_bad_characters(body)
    try:
        return _split_strictly(replaced)
    except _REFUSED:
        return _split_by_brackets(replaced)


def replace_bad_characters(body: bytes) -> bytes:
    r"""Replace each lone surrogate by ``\ufffd``, and control characters by escapes.

    Line breaks and tabs stay: between the strings they are legal.
    """
    body = _ESCAPE.sub(lambda found: found[0] if found["whole"] else rb"\ufffd", body)
    return _CONTROL.sub(lambda found: b"\\u%04x" % found[0][0], body)


def _split_strictly(body: bytes) -> Sequence[msgspec.Raw]:
    if not body.lstrip(_BLANK).startswith(b"{"):
        try:
            return msgspec.json.decode(body, type=list[msgspec.Raw])
        except msgspec.ValidationError:
            raise NotAList("the response is JSON, but not a list") from None
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    arrays = [raw for raw in fields.values() if bytes(memoryview(raw)[:1]) == b"["]
    if len(arrays) != 1:
        raise NotAList(f"the response is an object with {len(arrays) or 'no'} lists, not one")
    return msgspec.json.decode(arrays[0], type=list[msgspec.Raw])


def _split_by_brackets(body: bytes) -> Sequence[bytes]:
    """Find the items by brackets and quotes alone; the text between them may be anything."""
    text = body.strip(_BLANK)
    at_depth = 1 if text.startswith(b"[") else 2  # items of a bare array, or of the array in an object
    depth = start = end = arrays = 0  # start: where the current item began, 0 outside the array
    items: list[bytes] = []
    while found := _STRUCTURE.match(text, end):  # match, not search: a quote left open must end it here
        mark, end = found[1], found.end()
        if mark in b"[{":
            depth += 1
            if depth == at_depth and mark == b"[":
                arrays, start = arrays + 1, end
            continue
        if depth == at_depth and arrays and mark in b",]" and start:
            items.append(text[start : end - 1].strip(_BLANK))
            start = end if mark == b"," else 0
        if mark in b"]}":
            depth -= 1
            if depth == 0:
                break
    if depth or start or end != len(text) or arrays != 1:
        raise NotAList("the response is not JSON, or was cut")
    return items[:-1] if items and not items[-1] else items
