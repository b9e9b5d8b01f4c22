"""PostgreSQL's side of the store: the address in libpq's words, and how each connection is made.

A connection suits PgBouncer in every pool mode: nothing of ours is a startup parameter that it does not know,
and no statement has a name that another transaction would need. Certificates are read anew for each
connection, so that a rotated file is used from the next one on.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cmc_notify.errors import StoreMisconfigured, StoreUnavailable
from cmc_notify.settings.suggestions import did_you_mean

FROZEN_AFTER_MS = 8_000
"""A process that is frozen in the middle of a transaction holds locks, and so stops the replica that takes
over, until PostgreSQL ends that transaction.
"""
COMMAND_TIMEOUT = 60.0
"""Seconds for one statement, except in an upgrade."""
CONNECT_TIMEOUT = 10
"""Seconds, unless ``connect_timeout`` says otherwise."""
ENCODINGS = frozenset({"UTF8", "UTF-8", "UNICODE", "SQL_ASCII"})
"""Of a database that can hold every text. Any other one refuses a whole poll at the first foreign letter."""

CREDENTIALS = ("user", "password")
_USUAL_PORT = 5432
_TO_DRIVER = frozenset(
    {
        "passfile",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "target_session_attrs",
    }
)
_OWN = frozenset(
    {
        "application_name",
        "channel_binding",
        "connect_timeout",
        "host",
        "options",
        "port",
        "prepared_statement_cache_size",
        "ssl",
    }
)
_FILES = frozenset({"sslcert", "sslcrl", "sslkey", "sslrootcert", "passfile"})
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    # The driver can't bind to the channel; libpq's other two words ask for nothing that it does not do.
    "channel_binding": ("disable", "prefer"),
}
_NUMBERS = ("connect_timeout", "prepared_statement_cache_size")
_SEVERAL_HOSTS = re.compile(r"^([^/?#]*@)?([^/?#@]*,[^/?#@]*)(?=[/?#]|$)")


def parse_url(url: str) -> URL:
    """Return the address, several hosts (``host1:5432,host2``) included.

    Raises ArgumentError or ValueError for a malformed one, and StoreMisconfigured for an unknown option.
    """
    scheme, separator, rest = url.partition("://")
    hosts: list[str] = []
    if found := _SEVERAL_HOSTS.match(rest):
        hosts = found[2].split(",")
        rest = f"{found[1] or ''}{rest[found.end() :]}"
    parsed = make_url(f"{scheme}{separator}{rest}")
    if hosts:
        parsed = parsed.update_query_dict({"host": hosts})
    return _checked(parsed)


def shown(url: URL) -> str:
    """Return the address alone, without the password and the options, which may hold one."""
    user = credentials(url).get("user")
    hosts, ports = _hosts(url)
    if len(hosts) < 2:  # noqa: PLR2004  one host is shown as it was written
        return URL.create("postgresql", user, None, url.host, url.port, url.database).render_as_string()
    named = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True))
    return f"postgresql://{f'{user}@' if user else ''}{named}/{url.database or ''}"


def credentials(url: URL) -> dict[str, str]:
    """Return user and password; an option counts before the part in front of the host."""
    given = {"user": url.username, "password": url.password} | {
        key: value for key, value in url.query.items() if key in CREDENTIALS
    }
    return {key: str(value) for key, value in given.items() if value is not None}


def without_credentials(url: URL) -> URL:
    """Return the URL without user and password: which database it is, and how it is reached."""
    query = {key: value for key, value in url.query.items() if key not in CREDENTIALS}
    return URL.create("postgresql", None, None, url.host, url.port, url.database, query)


class Connector:
    """Makes connections to one address; ``url`` may be replaced by one with other credentials."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def engine(self, *, for_upgrade: bool = False) -> AsyncEngine:
        """Return an engine. An upgrade has no limit for its statements, and keeps no connection.

        Raises StoreMisconfigured where the driver is not installed.
        """

        async def connect(*_arguments: object, **_parameters: object) -> Any:
            return await self._connect(None if for_upgrade else COMMAND_TIMEOUT)

        cached = int(str(self.url.query.get("prepared_statement_cache_size", 0)))
        try:
            return create_async_engine(
                "postgresql+asyncpg://",
                connect_args={
                    "async_creator_fn": connect,
                    "prepared_statement_cache_size": cached,
                    # Without a name a statement needs nothing of the connection beyond its transaction.
                    "prepared_statement_name_func": None if cached else str,
                },
                # A role or database may ask for another level; the store's transactions are written for this.
                isolation_level="READ COMMITTED",
                hide_parameters=True,
                poolclass=NullPool if for_upgrade else None,
                pool_pre_ping=True,
            )
        except ModuleNotFoundError as error:
            raise StoreMisconfigured(
                f"store {shown(self.url)}: {error.name} is not installed; pip install 'cmc-notify[postgres]'"
            ) from error

    async def _connect(self, command_timeout: float | None) -> Any:
        import asyncpg  # noqa: PLC0415  an extra, missing where only SQLite is used

        query = self.url.query
        self._check_files(query)
        hosts, ports = _hosts(self.url)
        settings = {"application_name": str(query.get("application_name", "cmc-notify"))}
        if "options" in query:
            settings["options"] = str(query["options"])
        connection = await asyncpg.connect(
            dsn=f"postgresql://?{urlencode(_driver_options(query))}",
            host=hosts or None,
            port=[port or _USUAL_PORT for port in ports] or None,
            database=self.url.database,
            timeout=int(str(query.get("connect_timeout", CONNECT_TIMEOUT))) or None,
            command_timeout=command_timeout,
            statement_cache_size=0,
            server_settings=settings,
            **credentials(self.url),
        )
        try:
            self._check_encoding(str(connection.get_settings().server_encoding))
            # Not at startup: PgBouncer refuses parameters that it does not know.
            await connection.execute(f"SET idle_in_transaction_session_timeout = {FROZEN_AFTER_MS}")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _check_files(self, query: Mapping[str, Any]) -> None:
        """The driver would not name the file that it can't read."""
        for key in _FILES & query.keys():
            path = str(query[key])
            if key == "sslrootcert" and path == "system":  # libpq's word for the system's authorities
                continue
            try:
                with Path(path).open("rb"):
                    pass
            except OSError as error:
                raise StoreUnavailable(
                    f"store {shown(self.url)}: {key}={path} can't be read"
                    f" ({error.strerror or type(error).__name__}); put the file there, readable for this user"
                ) from error

    def _check_encoding(self, encoding: str) -> None:
        if encoding.upper() not in ENCODINGS:
            raise StoreMisconfigured(
                f"store {shown(self.url)}: the database has the encoding {encoding}, which can't hold every"
                " text; create it with ENCODING 'UTF8' (TEMPLATE template0)"
            )


def _checked(url: URL) -> URL:
    known = _TO_DRIVER | _OWN | set(CREDENTIALS)
    for key, value in url.query.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"these are known: {', '.join(sorted(known))}"
            raise StoreMisconfigured(f"store.url: unknown option {key!r}; {hint}")
        named = "sslmode" if key == "ssl" else key  # asyncpg's name for what libpq calls sslmode
        if named in _CHOICES and value not in _CHOICES[named]:
            choices = ", ".join(_CHOICES[named])
            raise StoreMisconfigured(f"store.url: {key}={value} is not possible; write one of {choices}")
        if named in _NUMBERS and not str(value).isdecimal():
            raise StoreMisconfigured(f"store.url: {key}={value} is not a number; write for example {key}=10")
    _hosts(url)
    return url


def _driver_options(query: Mapping[str, Any]) -> dict[str, str]:
    found = {key: str(value) for key, value in query.items() if key in _TO_DRIVER}
    if "ssl" in query:
        found.setdefault("sslmode", str(query["ssl"]))
    return found


def _hosts(url: URL) -> tuple[list[str], list[int | None]]:
    """Return hosts and their ports, by the option ``host``, else as the address names them."""
    given = url.query.get("host", url.host)
    several = [given] if isinstance(given, str) else list(given or ())
    hosts: list[str] = []
    ports: list[int | None] = []
    common = url.query.get("port", url.port)
    for each in (part for text in several for part in text.split(",")):
        host, port = _host_and_port(each)
        hosts.append(host)
        ports.append(port if port is not None else _port(common))
    return hosts, ports


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.startswith("/"):  # the folder of a Unix socket
        return text, None
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, _port(rest.removeprefix(":") or None)
    host, separator, port = text.rpartition(":")
    return (host, _port(port)) if separator and ":" not in host else (text, None)


def _port(value: Any) -> int | None:
    if value is None:
        return None
    if not str(value).isdecimal() or not 0 < int(value) < 65536:  # noqa: PLR2004  the highest TCP port
        raise StoreMisconfigured(
            "store.url: a port must be a number from 1 to 65535; write for example host:5432"
        )
    return int(value)
