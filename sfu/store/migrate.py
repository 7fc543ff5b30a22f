"""Bring a database's schema to this version's, whatever version left it there."""

from __future__ import annotations

import glob
import logging
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from sfu import clock
from sfu.errors import ConfigError
from sfu.store.engine import make_shrinkable
from sfu.store.snapshot import snapshot
from sfu.store.tables import metadata

log = logging.getLogger(__name__)


def revisions() -> list[str]:
    """Every revision there is, oldest first."""
    script = ScriptDirectory.from_config(_config())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


async def revision_of(engine: AsyncEngine) -> str | None:
    """What revision the database is at; None where it has no tables of ours."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


async def bring_up_to_date(engine: AsyncEngine, url: URL) -> None:
    """Upgrade the database to this version, and make sure that it has what this version needs.

    A SQLite file is copied before. PostgreSQL changes a schema in one transaction, and its copies are the
    administrator's. Raises `ConfigError`, `OSError` or `SQLAlchemyError`.
    """
    current, newest = await revision_of(engine), revisions()[-1]
    check_known(current)
    if current is None:
        await migrate(engine)
    elif current != newest:
        log.info("the database is upgraded from revision %s to %s", current, newest)
        began_us = clock.now_us()
        if url.database and url.get_backend_name() == "sqlite":
            kept = copy_path(Path(url.database), current)
            await snapshot(engine, kept)
            log.info("its copy from before is %s", kept)
        else:
            log.warning("no copy is made of PostgreSQL: only a backup from before leads back to %s", current)
        await migrate(engine)
        log.info("the database is upgraded: it took %.1f s", (clock.now_us() - began_us) / 1e6)
    if engine.dialect.name == "sqlite":
        await make_shrinkable(engine)
    await check(engine)
    async with engine.begin() as connection:
        # A database that is read-only is to be found out now, not by the first message.
        await connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def copy_path(database: Path, revision: str) -> Path:
    """Where an upgrade leaves the copy of a database that was at `revision`."""
    return database.with_name(f"{database.name}.revision-{revision}")


def drop_copies(url: URL, before_ms: int) -> list[str]:
    """Delete the copies that upgrades have left before `before_ms`. Returns their names; raises `OSError`."""
    if url.get_backend_name() != "sqlite":
        return []
    database = Path(url.database or "")
    pattern = copy_path(Path(glob.escape(database.name)), "*").name
    old = [each for each in database.parent.glob(pattern) if each.stat().st_mtime * 1000 < before_ms]
    for each in old:
        each.unlink()
    return [each.name for each in old]


async def migrate(engine: AsyncEngine, revision: str = "head") -> None:
    """Upgrade to `revision`, all or nothing."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade, revision)


async def check(engine: AsyncEngine) -> None:
    """Compare the schema with the tables of this version.

    Raises `ConfigError` where the database is at another revision, or lacks what its revision has.
    """
    async with engine.connect() as connection:
        await connection.run_sync(_check)


def check_known(current: str | None) -> None:
    """Raises `ConfigError` where this version does not know the revision."""
    known = revisions()
    if current is not None and current not in known:
        raise ConfigError(
            [
                f"storage.url: the database was made by a newer version of pysfu (its schema is revision "
                f"{current}, this version knows up to {known[-1]}): install that version, or restore a backup"
            ]
        )


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _check(connection: Connection) -> None:
    current, newest = _current(connection), revisions()[-1]
    check_known(current)
    if current is None:
        raise ConfigError(["storage.url: the database has no tables of pysfu"])
    if current != newest:
        raise ConfigError(
            [
                f"storage.url: the database was made by an older version of pysfu (its schema is revision "
                f"{current}, this version works with {newest}): start the server once, which upgrades it"
            ]
        )
    if lacking := list(_lacking(connection)):
        raise ConfigError([f"storage.url: the database lacks {', '.join(lacking)}: restore a backup"])


def _lacking(connection: Connection) -> list[str]:
    """What the tables of this version have and the database does not; what it has besides is no fault."""
    found: list[str] = []
    for difference in compare_metadata(MigrationContext.configure(connection), metadata):
        match difference:
            case ("add_table", table):
                found.append(f"the table {table.name}")
            case ("add_column", _, table, column):
                found.append(f"the column {table}.{column.name}")
            case ("add_index", index):
                found.append(f"the index {index.name}")
    return found


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    # Alembic reads this through a ConfigParser, to which % is special.
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
