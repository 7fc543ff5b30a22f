from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from sfu.errors import ConfigError
from sfu.store.engine import open_engines, parse_url
from sfu.store.migrate import migrate, revisions
from sfu.store.store import open_store
from sfu.store.tables import metadata


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


@pytest.mark.parametrize("start", ["base", *revisions()])
async def test_every_revision_leads_to_the_tables_of_this_version(url: str, start: str) -> None:
    engines = open_engines(parse_url(url))
    try:
        await migrate(engines.write, start)
        await migrate(engines.write)
        async with engines.write.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engines.dispose()


async def test_a_database_of_a_newer_version_is_refused(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path) as store:
        await store.writes.transact(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        )
    with pytest.raises(ConfigError, match="cannot be brought up to date"):
        async with open_store(url, tmp_path):
            pass


async def test_one_database_serves_one_server(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path):
        with pytest.raises(ConfigError, match="another server"):
            async with open_store(url, tmp_path):
                pass
    async with open_store(url, tmp_path):
        pass


@pytest.mark.parametrize("bad", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///"])
def test_other_urls_are_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"storage\.url"):
        parse_url(bad)


async def test_a_throw_away_database_needs_no_folder() -> None:
    async with open_store("temporary", None) as store:
        folder = store.folder
        assert folder.is_dir()
    assert not folder.exists()


async def test_samples_that_came_twice_are_there_once(url: str) -> None:
    engines = open_engines(parse_url(url))
    insert = text(
        "INSERT INTO telemetry (room, identity, series, unit, at_ms, value) "
        "VALUES ('r', 'cam', 'pulse', '', :at_ms, :value)"
    )
    try:
        await migrate(engines.write, "0003")
        async with engines.write.begin() as connection:
            rows = [{"at_ms": at_ms, "value": value} for at_ms, value in ((1, 70), (1, 70), (2, 71), (1, 99))]
            await connection.execute(insert, rows)
        await migrate(engines.write)
        async with engines.write.connect() as connection:
            found = await connection.execute(text("SELECT at_ms, value FROM telemetry ORDER BY at_ms"))
            assert [tuple(row) for row in found] == [(1, 70), (2, 71)]
    finally:
        await engines.dispose()
