"""Engines: who writes, who reads, and what makes a commit last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sfu import clock
from sfu.errors import ConfigError

READERS = 6
"""Connections that answer queries beside the one that writes."""
FOR_REQUESTS = 3
"""Of these at most for what people ask to read: what lets somebody in never waits for that."""
FOR_SCANS = 1
"""And at most for what looks at many rows."""
BUSY_MS = 1_000
"""How long SQLite itself waits for a lock of another program (a backup); nothing ends that wait.

Writes wait longer, by trying again (`Writes`).
"""
LOG_BYTES = 4_194_304
"""Of the write-ahead log beside a SQLite file once its content is in the file."""
SPARE_PAGES = 256
"""Unused pages (1 MiB) that a SQLite file keeps: what is written next has a place."""
SHRUNK_PAGES = 256
"""Pages that a SQLite file gives back at once: others wait to write meanwhile."""

CONNECT_S = 10
"""A PostgreSQL that does not answer is away, not slow."""
POSTGRESQL_PARAMETERS = frozenset({"host", "port", "ssl", "sslmode"})
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

log = logging.getLogger(__name__)

# At DEBUG it would log every statement with its values, which are what people say.
logging.getLogger("aiosqlite").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Engines:
    """One database. On SQLite `write` is a single connection and `read` cannot change anything."""

    write: AsyncEngine
    read: AsyncEngine

    async def dispose(self) -> None:
        await self.write.dispose()
        if self.read is not self.write:
            await self.read.dispose()


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite+aiosqlite", database=str(path))


def parse_url(url: str) -> URL:
    """`url` with the driver we use. Raises `ConfigError` for what is neither SQLite nor PostgreSQL.

    Of the parameters that libpq knows, `sslmode` is understood (for PostgreSQL).
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(["storage.url: not a database URL"]) from None
    backend = parsed.get_backend_name() if parsed.drivername else ""
    if backend == "sqlite" and parsed.database:
        _check_parameters(parsed, frozenset())
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.drivername in {"postgresql", "postgres", "postgresql+asyncpg"}:
        _check_parameters(parsed, POSTGRESQL_PARAMETERS)
        query = {"ssl" if name == "sslmode" else name: value for name, value in parsed.query.items()}
        return parsed.set(drivername="postgresql+asyncpg", query=query)
    raise ConfigError(["storage.url: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"])


def _check_parameters(url: URL, known: frozenset[str]) -> None:
    """Raises `ConfigError`: the driver would fail on a parameter that it does not know, at its first use."""
    for name, value in url.query.items():
        if name not in known:
            raise ConfigError([f"storage.url: the parameter {name!r} is not known here"])
        if name in {"ssl", "sslmode"} and value not in SSL_MODES:
            raise ConfigError([f"storage.url: {name} is one of {', '.join(SSL_MODES)}"])


def open_reader(url: URL, *, unused: bool) -> Engines:
    """Engines that cannot change anything, and make no file beside a SQLite one that is `unused` now."""
    if url.get_backend_name() != "sqlite":
        return open_engines(url)
    query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if unused else {})
    file = url.set(database=Path(url.database or "").absolute().as_uri(), query=query)
    engine = create_async_engine(file, pool_size=READERS, max_overflow=0, hide_parameters=True)
    _prepare_sqlite(engine, "DEFERRED")
    return Engines(engine, engine)


def open_engines(url: URL, *, lasting: bool = True) -> Engines:
    """Nothing is connected yet. `lasting` false (a database that is thrown away) spares the disk.

    Parameters are hidden from errors, because errors are logged and message text is not.
    """
    if url.get_backend_name() == "sqlite":
        write = create_async_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
        read = create_async_engine(url, pool_size=READERS, max_overflow=0, hide_parameters=True)
        # FULL, not NORMAL: in WAL mode NORMAL survives kill -9 but not a power cut, and an acknowledged
        # message has to survive both. One sync serves a whole batch of messages, so it costs little.
        # What is deleted gives its place back, in portions (`shrink`); a log that has grown is cut.
        _prepare_sqlite(
            write, "IMMEDIATE",
            auto_vacuum="INCREMENTAL", journal_mode="WAL", journal_size_limit=str(LOG_BYTES),
            synchronous="FULL" if lasting else "OFF",
        )  # fmt: skip
        _prepare_sqlite(read, "DEFERRED", journal_mode="WAL", query_only="ON")
        return Engines(write, read)
    try:
        engine = create_async_engine(
            url,
            pool_size=READERS + 2,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": CONNECT_S},
        )
    except ModuleNotFoundError:
        raise ConfigError(["storage.url: PostgreSQL needs asyncpg: pip install 'pysfu[postgres]'"]) from None
    return Engines(engine, engine)


@contextlib.asynccontextmanager
async def outside_transaction(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Lend the driver's own connection to a SQLite file, for statements that work in no transaction.

    Raises `SQLAlchemyError`.
    """
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        try:
            yield raw.driver_connection
        except sqlite3.Error as error:
            raise OperationalError("outside a transaction", None, error) from error


async def make_shrinkable(engine: AsyncEngine) -> None:
    """Rewrite a SQLite file that cannot give back what is unused; nobody else may use it.

    Raises `SQLAlchemyError`.
    """
    async with outside_transaction(engine) as connection:
        ((mode,),) = await connection.execute_fetchall("PRAGMA auto_vacuum")
        if mode:
            return
        log.info("the database is rewritten once, so that it can shrink when something is deleted")
        began_us = clock.now_us()
        try:
            await connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            # It works as it is.
            log.warning("the database could not be rewritten: %s", error)
            return
        log.info("the database is rewritten: it took %.1f s", (clock.now_us() - began_us) / 1e6)


async def shrink(engine: AsyncEngine) -> None:
    """Give unused pages of a SQLite file back to the disk, in portions. Raises `SQLAlchemyError`."""
    if engine.dialect.name != "sqlite":
        return
    while True:
        began_us = clock.now_us()
        async with outside_transaction(engine) as connection:
            ((free,),) = await connection.execute_fetchall("PRAGMA freelist_count")
            if free <= SPARE_PAGES:
                return
            # As a script: a query would stop after one page.
            await connection.executescript(
                f"PRAGMA incremental_vacuum({min(SHRUNK_PAGES, free - SPARE_PAGES)})"
            )
            ((left,),) = await connection.execute_fetchall("PRAGMA freelist_count")
        if left == free:
            return
        await asyncio.sleep((clock.now_us() - began_us) / 1e6)


def _prepare_sqlite(engine: AsyncEngine, begin: str, **pragmas: str) -> None:
    """Transactions that we begin ourselves: the driver's own leave schema changes outside them."""

    def on_connect(connection: Any, record: object) -> None:
        try:
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            for name, value in pragmas.items():
                cursor.execute(f"PRAGMA {name}={value}")
            cursor.close()
        except BaseException:
            # The pool does not know it yet, so nobody else would end its thread.
            connection.close()
            raise

    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql(f"BEGIN {begin}")

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
