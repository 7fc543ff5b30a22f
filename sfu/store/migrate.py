"""Bring a database's schema to this version's, whatever version left it there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from sfu.errors import ConfigError


def revisions() -> list[str]:
    """Every revision there is, oldest first."""
    script = ScriptDirectory.from_config(_config())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


async def migrate(engine: AsyncEngine, revision: str = "head") -> None:
    """Upgrade to `revision`, all or nothing. Raises `ConfigError`: a newer version has been here."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise ConfigError([f"storage.url: the database cannot be brought up to date: {error}"]) from error


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    # Alembic reads this through a ConfigParser, to which % is special.
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
