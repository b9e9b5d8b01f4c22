"""What somebody probably meant to write."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(written: str, known: Iterable[str]) -> str | None:
    """``did you mean "channel"?`` for ``chanel``; None where nothing known comes close."""
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    close = get_close_matches(written.lower().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[close[0]]}"?' if close else None
