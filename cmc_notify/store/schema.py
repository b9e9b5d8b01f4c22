"""The schema and its versions: the bridge upgrades the store, everybody else only checks its version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from cmc_notify.errors import StoreError
from cmc_notify.store.engine import Database

_MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADE_LOCK = 0x636D636E  # any number that no other program on the same PostgreSQL is likely to use


async def upgrade(database: Database) -> None:
    """Upgrade the schema to this version in one transaction, however long that takes.

    Raises StoreError if it is newer.
    """
    if database.path is None and await _is_newest(database):
        return  # an ordinary start has time limits, so that a server that hangs is noticed
    async with database.upgrade() as connection:
        if database.path is None:  # replicas that start together wait for the first
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        await connection.run_sync(_upgrade, database.label)


async def verify(database: Database) -> None:
    """Raise StoreError unless there is a store with this version's schema."""
    if database.path and not database.path.exists():
        raise StoreError(
            f"{database.label}: there is no store yet; start the bridge (cmc-notify run), "
            "or see store.url in the config"
        )
    async with database.read() as connection:
        current = await connection.run_sync(_current)
    if current is None:
        raise StoreError(
            f"{database.label}: it is empty; has the bridge (cmc-notify run) been started on it?"
        )
    scripts = _scripts()
    _refuse_newer(current, scripts, database.label)
    if current != scripts.get_current_head():
        raise StoreError(
            f"{database.label}: its schema {current} is older than this program; "
            "restart the bridge with this version, which upgrades it"
        )


async def _is_newest(database: Database) -> bool:
    async with database.read() as connection:
        return await connection.run_sync(_current) == _scripts().get_current_head()


def _upgrade(connection: Connection, label: str) -> None:
    scripts = _scripts()
    current = _current(connection)
    if current is not None:
        _refuse_newer(current, scripts, label)
    if current == scripts.get_current_head():
        return
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(_MIGRATIONS)


def _refuse_newer(current: str, scripts: ScriptDirectory, label: str) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if current not in known:
        raise StoreError(
            f"{label}: its schema {current} was written by a newer cmc-notify; install that version again"
        )
