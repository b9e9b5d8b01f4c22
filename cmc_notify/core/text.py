"""Text from outside, made safe to show to people: complete, with nothing hidden in it.

Every character arrives. Characters that a screen would act on (terminal controls, right-to-left overrides)
or not show at all are replaced by a visible sign. Documents for machines keep the text as it is.
"""

import hashlib
import re

_MAX_INDEXED_BYTES = 300
"""Bytes. PostgreSQL refuses a row whose indexed values have more than 2,704 in total, and JSON can turn one
byte into six.
"""
_ARABIC_LETTER_MARK = 0x061C
_BIDI = (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), _ARABIC_LETTER_MARK)
_DELETE = 0x7F
_UNCHANGED = "\n\t"

_SIGNS: dict[str, str] = {
    **{chr(code): chr(0x2400 + code) for code in range(0x20) if chr(code) not in _UNCHANGED},
    chr(_DELETE): "\u2421",
    **{chr(code): f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), *_BIDI)},
}
_HIDDEN = re.compile("[" + "".join(map(re.escape, _SIGNS)) + "]")


def visible(text: str) -> str:
    r"""Replace every invisible or active character; a text without any comes back as the same object.

    - ``\r\n`` becomes ``\n``; ``\n`` and tab stay
    - other C0 controls and DEL become their Control Picture (a lone ``\r`` is ``␍``, NUL is ``␀``)
    - C1 controls and the bidirectional controls (U+202A to U+202E, U+2066 to U+2069, U+200E, U+200F, U+061C)
      become ``[U+202E]`` and the like
    """
    if not _HIDDEN.search(text):
        return text
    return _HIDDEN.sub(lambda found: _SIGNS[found[0]], text.replace("\r\n", "\n"))


_MARKDOWN = re.compile(r"[\\*_~`|<>\[\]@#]|:(?=\w+:|//)")
_LINE_START = re.compile(r"^([ \t]*(?:\d+(?=[.)]))?)([-+.)])", re.MULTILINE)


def markdown(text: str) -> str:
    """Return text that Discord shows as it is: with a backslash before anything that it would read as markup,
    an emoji, a mention or a link (https://support.discord.com/hc/en-us/articles/210298617).
    """
    return _LINE_START.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", visible(text)))


def shorten(text: str, limit: int | None) -> str:
    """Return at most ``limit`` characters and the number of those left out; None leaves the text whole."""
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def indexable(text: str) -> str:
    """Return the text, or its beginning with a digest if it is too long for a database index."""
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) <= _MAX_INDEXED_BYTES:
        return text
    return f"{text[:40]}~{hashlib.sha256(whole).hexdigest()}"
