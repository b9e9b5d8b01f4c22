"""Sessions and sign-in codes; only digests of what opens them are stored."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, select

from cmc_notify.core.access import Right, Session
from cmc_notify.ports import SignInCode
from cmc_notify.store.engine import Database
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import sessions, sign_in_codes


class SessionRecords:
    """Implements ports.Sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def begin(self, session: Session, *, now: float) -> None:
        """Store a session; those whose time is over are deleted."""
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.ends_at <= now))
            await connection.execute(delete(sign_in_codes).where(sign_in_codes.c.ends_at <= now))
            await connection.execute(
                insert(sessions).values(
                    id=session.id,
                    name=session.name,
                    right=session.right.value,
                    began_at=session.began_at,
                    ends_at=session.ends_at,
                    token=session.token,
                    address=session.address,
                )
            )

    @runs_to_completion
    async def find(self, session_id: str) -> Session | None:
        """Return one session by the digest of its id."""
        found = await self._load(sessions.c.id == session_id)
        return found[0] if found else None

    @runs_to_completion
    async def list_sessions(self, *, now: float) -> Sequence[Session]:
        """Return the sessions that have not ended, the newest first."""
        return await self._load(sessions.c.ends_at > now)

    @runs_to_completion
    async def end(self, ids: Collection[str]) -> Sequence[str]:
        """End these; returns the ids of those that were there."""
        ended = []
        async with self._database.write() as connection:
            for each in dict.fromkeys(ids):
                result = await connection.execute(delete(sessions).where(sessions.c.id == each))
                ended += [each] * result.rowcount
        return ended

    @runs_to_completion
    async def end_all_but(self, names: Collection[str]) -> int:
        """End the sessions of every token that has none of these names; returns how many."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(sessions).where(sessions.c.name.not_in(list(names))))
            return result.rowcount

    @runs_to_completion
    async def add_code(self, code: SignInCode) -> None:
        """Store a code that signs somebody in."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(sign_in_codes).values(
                    id=code.id, name=code.name, right=code.right.value, token=code.token, ends_at=code.ends_at
                )
            )

    @runs_to_completion
    async def redeem(self, code_id: str, *, now: float) -> SignInCode | None:
        """Return the code and delete it; None if it was used, has ended, or never was."""
        this = sign_in_codes.c.id == code_id
        async with self._database.write() as connection:
            row = (await connection.execute(select(sign_in_codes).where(this))).one_or_none()
            deleted = await connection.execute(delete(sign_in_codes).where(this))
            if row is None or deleted.rowcount != 1 or row.ends_at <= now:
                return None
            return SignInCode(
                id=row.id, name=row.name, right=Right(row.right), token=row.token, ends_at=row.ends_at
            )

    async def _load(self, condition: ColumnElement[bool]) -> list[Session]:
        wanted = select(sessions).where(condition).order_by(sessions.c.began_at.desc(), sessions.c.id)
        async with self._database.read() as connection:
            return [_session(row) for row in await connection.execute(wanted)]


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        name=row.name,
        right=Right(row.right),
        began_at=row.began_at,
        ends_at=row.ends_at,
        token=row.token,
        address=row.address,
    )
