"""The key by which a ticket is found again: made of its subject alone, so the same from any replica."""

import hashlib
import re

from cmc_notify.core.ticketing import FAILURE_PREFIX

PREFIX = "cmc-notify:"
_PLAIN = re.compile(r"[!-~]+")
"""Printable ASCII without blanks: what every vendor's key may hold."""
_DIGEST = 32


def ticket_key(subject: str, longest: int, *, prefix: str = PREFIX, unfit: str = "") -> str:
    """``cmc-notify:job:emea:42``. A subject that is too long, or holds blanks or any character of ``unfit``,
    is made unique by a digest instead, behind as much of it as can stand there.
    """
    if subject.startswith(FAILURE_PREFIX):  # what receivers know such a ticket by, from its first release on
        subject = f"incident:{subject.removeprefix(FAILURE_PREFIX)}"
    if subject.startswith(FAILURE_PREFIX):  # what receivers know such a ticket by, from its first release on
        subject = f"incident:{subject.removeprefix(FAILURE_PREFIX)}"
    whole = prefix + subject
    if subject and len(whole) <= longest and _PLAIN.fullmatch(whole) and not set(whole) & set(unfit):
        return whole
    readable = "".join(c if _PLAIN.fullmatch(c) and c not in unfit else "-" for c in whole)
    digest = hashlib.sha256(subject.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    return f"{readable[: longest - _DIGEST - 1]}-{digest}"
