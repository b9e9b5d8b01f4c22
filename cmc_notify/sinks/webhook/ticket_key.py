"""The key that finds a ticket again. It depends on the subject alone, so every replica makes the same."""

import hashlib
import re

from cmc_notify.core.ticketing import FAILURE_PREFIX

PREFIX = "cmc-notify:"
_PLAIN = re.compile(r"[!-~]+")
"""Printable ASCII without blanks: every vendor allows it in a key."""
_DIGEST = 32


def ticket_key(subject: str, longest: int, *, prefix: str = PREFIX, unfit: str = "") -> str:
    """Return the key, such as ``cmc-notify:job:emea:42``, of at most ``longest`` characters.

    A subject that is too long, or holds blanks or a character of ``unfit``, gets a digest at its end instead.
    """
    if subject.startswith(FAILURE_PREFIX):
        # Receivers know these tickets by this word since the first release: open ones must still close.
        subject = f"incident:{subject.removeprefix(FAILURE_PREFIX)}"
    whole = prefix + subject
    if subject and len(whole) <= longest and _PLAIN.fullmatch(whole) and not set(whole) & set(unfit):
        return whole
    readable = "".join(c if _PLAIN.fullmatch(c) and c not in unfit else "-" for c in whole)
    digest = hashlib.sha256(subject.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    return f"{readable[: longest - _DIGEST - 1]}-{digest}"
