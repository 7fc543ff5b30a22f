"""Whole databases on the move: into a file for a backup, and from one kind of database to the other."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import URL, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sfu.errors import ConfigError
from sfu.store import properties
from sfu.store.alone import alone
from sfu.store.engine import Engines, open_engines, sqlite_url
from sfu.store.migrate import bring_up_to_date, migrate
from sfu.store.snapshot import snapshot
from sfu.store.store import Reader, locate, make_private_file, refusals
from sfu.store.tables import metadata

ROWS = 1_000
"""Rows that are in memory at once."""


async def write_file(reader: Reader, target: Path) -> None:
    """Write everything that is committed at this moment to the SQLite file `target`.

    Raises `OSError` or `SQLAlchemyError`.
    """
    if reader.engines.read.dialect.name == "sqlite":
        await snapshot(reader.engines.read, target)
        return
    async with _engines_of(target) as engines:
        await migrate(engines.write)
        await _copy(reader.engines.read, engines.write)


async def upgrade_file(path: Path) -> str:
    """Bring a copy that `write_file` made, of any older version too, up to date. Returns the database's id.

    Raises `ConfigError`: a newer version made it, or it is no database of pysfu.
    """
    url = sqlite_url(path)
    with refusals(url):
        async with _engines_of(path) as engines:
            await bring_up_to_date(engines.write, url)
            async with engines.write.begin() as connection:
                return await properties.database_id(connection)


async def hashes_in(path: Path) -> set[str]:
    """The contents that the files in a copy have."""

    def read() -> set[str]:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            return {row[0] for row in copy.execute("SELECT sha256 FROM files")}

    return await asyncio.to_thread(read)


async def copy_to(reader: Reader, url: str) -> dict[str, int]:
    """Copy every row to the database at `url`, which has none yet; all or nothing.

    Returns how many rows each table got. Raises `ConfigError` or `StartError`.
    """
    located = locate(url, reader.folder)
    engines = open_engines(located)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engines.dispose)
        with refusals(located):
            await stack.enter_async_context(alone(located, engines, asyncio.Event()))
            return await copy_rows(reader.engines.read, engines.write, located)


async def copy_rows(source: AsyncEngine, target: AsyncEngine, located: URL) -> dict[str, int]:
    """The same, to a `target` that this process holds."""
    make_private_file(located)
    await bring_up_to_date(target, located)
    return await _copy(source, target)


async def _copy(source: AsyncEngine, target: AsyncEngine) -> dict[str, int]:
    counts: dict[str, int] = {}
    async with _frozen(source) as read, target.begin() as write:
        for table in metadata.sorted_tables:
            if table.name != "properties" and await write.scalar(select(func.count()).select_from(table)):
                raise ConfigError([f"the database there is not empty: it has rows in {table.name}"])
        await write.execute(metadata.tables["properties"].delete())
        for table in metadata.sorted_tables:
            counts[table.name] = 0
            found = await read.stream(select(table))
            async for rows in found.partitions(ROWS):
                await write.execute(insert(table), [dict(row._mapping) for row in rows])
                counts[table.name] += len(rows)
        await _set_sequences(write)
    return counts


@contextlib.asynccontextmanager
async def _frozen(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment, whatever is committed meanwhile. SQLite's do so by themselves."""
    async with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


async def _set_sequences(connection: AsyncConnection) -> None:
    """PostgreSQL counts on from where its own counter is, not from the highest row."""
    if connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        if (column := table.autoincrement_column) is not None:
            highest = await connection.scalar(select(func.max(column)))
            if highest is not None:
                sequence = text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)")
                values = {"table": table.name, "column": column.name, "highest": highest}
                await connection.execute(sequence, values)


@contextlib.asynccontextmanager
async def _engines_of(path: Path) -> AsyncIterator[Engines]:
    engines = open_engines(sqlite_url(path))
    try:
        yield engines
    finally:
        await engines.dispose()
