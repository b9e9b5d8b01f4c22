"""How hostile characters are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é 漢字 😀", "plain\n\ttext é 漢字 😀"),
        ("two\r\nlines", "two\nlines"),
        ("lone\rreturn", "lone␍return"),
        ("\x00\x1b[31mred\x07", "␀␛[31mred␇"),
        ("\x7f", "␡"),
        ("\x85\x9b", "[U+0085][U+009B]"),
        ("\u202egpj.exe\u2066\u200f\u061c", "[U+202E]gpj.exe[U+2066][U+200F][U+061C]"),
        ("zero\u200bwidth \u200d joiner", "zero\u200bwidth \u200d joiner"),
    ],
)
def test_hidden_characters_get_a_sign(text: str, shown: str) -> None:
    """Controls and direction marks are replaced by a sign; everything else stays."""
    assert visible(text) == shown


@given(st.text())
def test_what_is_visible_stays(text: str) -> None:
    """What was made visible once has nothing hidden left, so that it stays as it is."""
    once = visible(text)
    assert visible(once) == once
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in once)
