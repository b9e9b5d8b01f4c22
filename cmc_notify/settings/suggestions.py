"""Suggestions for misspelt words."""

from collections.abc import Iterable
from difflib import get_close_matches


def closest(written: str, known: Iterable[str]) -> str | None:
    """Return ``channel`` for ``chanel``; None if no known word is close."""
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    close = get_close_matches(written.lower().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(written: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean "channel"?`` for ``chanel``; None if no known word is close."""
    found = closest(written, known)
    return f'did you mean "{found}"?' if found else None
