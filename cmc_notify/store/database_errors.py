"""Errors of the database and its driver, translated to StoreUnavailable.

Each message names the store, what is wrong and what to do, and holds neither password nor parameters.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util.exc import CommandError
from msgspec import MsgspecError
from sqlalchemy import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cmc_notify.errors import CmcNotifyError, StoreUnavailable

_FOREIGN = (SQLAlchemyError, sqlite3.Error, OSError, MsgspecError, CommandError, OverflowError, UnicodeError)

_REMEDIES = (
    ("disk is full", "free space on its disk"),
    ("no space left", "free space on its disk"),
    (
        "read-only transaction",
        "the server accepts no writes; point store.url at the primary, or check the server's settings",
    ),
    ("pg_hba.conf", "allow this user and address in the server's pg_hba.conf"),
    ("connection slots", "raise max_connections on the server"),
    ("too many clients", "raise max_connections on the server"),
    ("readonly", "make the file and its folder writable for this user"),
    ("permission denied for", "grant the user of store.url access to the database and its tables"),
    ("permission denied", "make the file and its folder writable for this user"),
    ("read-only file system", "point store.url at a file system that can be written"),
    ("not a database", "it is not a store; set store.url to another file, or restore a backup"),
    ("malformed", "the file is damaged; restore a backup, or move it away and start again"),
    ("unable to open", "make sure that its folder exists and is writable for this user"),
    ("locked", "another process keeps writing to it; end that process, or wait"),
    ("disk i/o error", "check the system log for errors of its disk"),
    ("password", "check the user and password in store.url"),
    ("unsupported startup parameter", "a pooler in between refuses a parameter; see the docs on PgBouncer"),
    (
        "prepared statement",
        "a pooler in between keeps no prepared statements; take the option away in store.url",
    ),
    (
        "certificate verify failed",
        "set sslrootcert in store.url to the authority that signed its certificate",
    ),
    ("root certificate", "set sslrootcert in store.url to a readable PEM file"),
    ("could not serialize", "the bridge tries again; no other program may write to its tables"),
    ("deadlock", "the bridge tries again; no other program may write to its tables"),
    (
        "target_session_attrs",
        "no host of store.url is in the state that it asks for; check the servers' roles",
    ),
    ("does not exist", "check the names in store.url, and that the bridge has run on it"),
)
_OTHER_REMEDY = "check that the database runs and that store.url is right"
_STUCK = (
    "read-only transaction",
    "permission denied for",
    "readonly",
    "not a database",
    "malformed",
    "unable to open",
    "disk i/o error",
)
"""After such an error a connection may keep failing when the cause is gone: a new one has to be opened."""
_CLASS_PREFIX = re.compile(r"^<class '[^']*'>: ")


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Raise StoreUnavailable, naming ``label``, for every foreign exception; let our own errors pass."""
    try:
        yield
    except CmcNotifyError:
        raise
    except Exception as error:
        # asyncpg is optional and raises errors of its own while connecting: known by name, not imported.
        if isinstance(error, _FOREIGN) or type(error).__module__.startswith("asyncpg"):
            raise StoreUnavailable(_explain(label, error)) from error
        raise


def drop_stuck(context: ExceptionContext) -> None:
    """Drop a connection that can't recover from the pool; for SQLAlchemy's ``handle_error``.

    A connection that was opened while the file or server was read-only stays so, and one of a user who was
    replaced by another stays without rights.
    """
    if any(sign in str(context.original_exception).lower() for sign in _STUCK):
        context.is_disconnect = True


def _explain(label: str, error: Exception) -> str:
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, UnicodeError):
        reason = "a text can't be encoded"  # the error itself would quote the text
    else:
        reason = _CLASS_PREFIX.sub("", str(cause)).split("\n")[0].strip() or type(cause).__name__
    lowered = reason.lower()
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in lowered), _OTHER_REMEDY)
    return f"{label}: {reason}; {remedy}"
