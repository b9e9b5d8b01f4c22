"""Whatever the database or its driver raises leaves this package as a StoreUnavailable.

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
        "the server takes no writes; point store.url at the primary, or see its settings",
    ),
    ("pg_hba.conf", "allow this user and address in the server's pg_hba.conf"),
    ("connection slots", "give the server a greater max_connections"),
    ("too many clients", "give the server a greater max_connections"),
    ("readonly", "make the file and its folder writable for this user"),
    ("permission denied for", "grant the user of store.url the rights to the database and its tables"),
    ("permission denied", "make the file and its folder writable for this user"),
    ("read-only file system", "put store.url on a file system that can be written"),
    ("not a database", "it is no store; set store.url to another file, or restore a backup"),
    ("malformed", "the file is damaged; restore a backup, or move it away and start anew"),
    ("unable to open", "see that its folder exists and is writable for this user"),
    ("locked", "another process keeps writing to it; end that one, or wait"),
    ("disk i/o error", "see the system log for its disk"),
    ("password", "see the user and password in store.url"),
    ("does not exist", "see the names in store.url, and that the bridge has run on it"),
)
_OTHER_REMEDY = "see that the database runs and that store.url is right"
_STUCK = (
    "read-only transaction",
    "permission denied for",
    "readonly",
    "not a database",
    "malformed",
    "unable to open",
    "disk i/o error",
)
"""A connection that said this may go on saying it when the cause is gone: a new one has to be opened."""
_CLASS_PREFIX = re.compile(r"^<class '[^']*'>: ")


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise StoreUnavailable, naming ``place``, for every foreign exception; let our own pass."""
    try:
        yield
    except CmcNotifyError:
        raise
    except Exception as error:
        # asyncpg is optional and raises errors of its own while connecting: known by name, not imported.
        if isinstance(error, _FOREIGN) or type(error).__module__.startswith("asyncpg"):
            raise StoreUnavailable(_explain(place, error)) from error
        raise


def drop_stuck(context: ExceptionContext) -> None:
    """For SQLAlchemy's ``handle_error``: have no connection of the pool used again that can't recover.

    A file or server that could only be read stays so for those who opened it then, and a user whose place
    another took stays without rights.
    """
    if any(sign in str(context.original_exception).lower() for sign in _STUCK):
        context.is_disconnect = True


def _explain(place: str, error: Exception) -> str:
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, UnicodeError):
        reason = "a text can't be encoded"  # the error itself would quote the text
    else:
        reason = _CLASS_PREFIX.sub("", str(cause)).split("\n")[0].strip() or type(cause).__name__
    lowered = reason.lower()
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in lowered), _OTHER_REMEDY)
    return f"{place}: {reason}; {remedy}"
