"""The sessions of people who signed in at the page, shared by all replicas."""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.access import Right, Session


class SignInCode(Struct, frozen=True, kw_only=True):
    """A link that signs somebody in once. ``id`` is the digest of the code in it."""

    id: str
    name: str
    right: Right
    token: str
    """The digest of the token in whose name it signs in."""
    ends_at: float


class Sessions(Protocol):
    """The store of sessions. What was ended is over for every replica at its next request.

    Every method raises StoreUnavailable. ``now`` is the caller's clock, in Unix seconds.
    """

    async def begin(self, session: Session, *, now: float) -> None:
        """Store a session; those whose time is over are deleted."""
        ...

    async def find(self, session_id: str) -> Session | None:
        """Return one session by the digest of its id, whether or not it still counts."""
        ...

    async def list_sessions(self, *, now: float) -> Sequence[Session]:
        """Return the sessions that have not ended, the newest first."""
        ...

    async def end(self, ids: Collection[str]) -> Sequence[str]:
        """End these; returns the ids of those that were there."""
        ...

    async def end_all_but(self, names: Collection[str]) -> int:
        """End the sessions of every token that has none of these names; returns how many."""
        ...

    async def add_code(self, code: SignInCode) -> None:
        """Store a code that signs somebody in."""
        ...

    async def redeem(self, code_id: str, *, now: float) -> SignInCode | None:
        """Return the code and delete it; None if it was used, has ended, or never was."""
        ...
