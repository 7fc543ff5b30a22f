import hashlib
import importlib
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text

from sfu.errors import ConfigError, StartError
from sfu.store import people
from sfu.store.engine import open_engines, parse_url
from sfu.store.migrate import copy_path, migrate, revisions
from sfu.store.store import open_store
from sfu.store.tables import metadata

VERSIONS = Path(importlib.import_module("sfu.store.migrations.versions").__path__[0])
LANDED = {
    "0001_the_first_schema": "b159b36dc71f",
    "0002_a_class_that_lasts": "40f0a16b7b58",
    "0003_webhooks": "02bc920c5dff",
    "0004_which_messages_show_a_file": "ca7b174509be",
    "0005_samples_once": "851b7da27cb6",
    "0006_hidden_sessions": "5fafd88c192e",
    "0007_what_a_room_is": "bbb45b8b5f44",
    "0008_what_stands_in_a_room": "a838a4ff384f",
    "0009_what_rewired_databases_lack": "40a7e19838d9",
    "0010_what_was_withdrawn": "9b3b8d7dfe7c",
    "0011_what_is_known_of_the_database": "7f0238000c90",
    "0012_hidden_removals": "70bb2469e65e",
}
"""SHA-256 of each revision, first digits. A database somewhere has run what has landed: never change it."""
REWIRED = {
    "1dfd966": ("0001", "0002", "0003", "0004", "0007"),
    "9cdd711": ("0001", "0002", "0003", "0004", "0006", "0007"),
    "7d5b158": ("0001", "0002", "0003", "0005"),
    "f7aa11a": ("0001", "0002", "0003", "0006"),
    "35310bb": ("0001", "0002", "0003", "0005"),
    "9012b5c": ("0001", "0002", "0003", "0007"),
    "ca3a2e8": ("0001", "0002", "0003", "0007"),
}
"""Commits of this project, and which revisions a database had run that they made."""
LATER = {"35310bb": "DROP TABLE thresholds", "ca3a2e8": "ALTER TABLE rooms DROP COLUMN silenced"}
"""What a revision did not make in these commits yet."""


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
    with pytest.raises(ConfigError, match=r"made by a newer version of pysfu \(its schema is revision 9999"):
        async with open_store(url, tmp_path):
            pass


def test_a_revision_that_has_landed_is_never_changed() -> None:
    """For a new revision add its line to `LANDED`; instead of changing an older one write a new one."""
    found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in VERSIONS.glob("0*.py")}
    assert found == LANDED


def _run(connection: Connection, chain: Sequence[str]) -> None:
    """As a commit did in which these revisions followed one another."""
    modules = {path.stem[:4]: f"{VERSIONS.name}.{path.stem}" for path in VERSIONS.glob("0*.py")}
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for revision in chain:
            importlib.import_module("sfu.store.migrations." + modules[revision]).upgrade()
    context._ensure_version_table()
    connection.execute(text("INSERT INTO alembic_version VALUES (:last)"), {"last": chain[-1]})


@pytest.mark.parametrize("later", [False, True], ids=["as-it-was", "after-0008"])
@pytest.mark.parametrize("commit", REWIRED)
async def test_databases_of_rewired_revisions_are_mended(
    url: str, tmp_path: Path, commit: str, *, later: bool
) -> None:
    engines = open_engines(parse_url(url))
    try:
        async with engines.write.begin() as connection:
            await connection.run_sync(_run, REWIRED[commit])
            if commit in LATER:
                await connection.execute(text(LATER[commit]))
            columns = "(room, identity, series, unit, at_ms, value)"
            sample = f"INSERT INTO telemetry {columns} VALUES ('r', 'c', 'p', '', 1, :v)"
            await connection.execute(text(sample), [{"v": 1}])
            if commit == "1dfd966":
                await connection.execute(text(sample), [{"v": 2}])
        if later:
            await migrate(engines.write, "0008")
    finally:
        await engines.dispose()
    async with open_store(url, tmp_path) as store:
        await store.writes.durable(people.joined("PA_1", "r", "ann", "Ann", 1, hidden=True))
        async with store.reading() as connection:
            assert await connection.run_sync(_differences) == []
            assert await connection.scalar(text("SELECT count(*) FROM telemetry")) == 1


@pytest.mark.parametrize("change", ["DROP TABLE strokes", "DROP INDEX ix_telemetry_series",
                                    "ALTER TABLE sessions DROP COLUMN hidden"])  # fmt: skip
async def test_a_database_that_lacks_something_is_refused(url: str, tmp_path: Path, change: str) -> None:
    async with open_store(url, tmp_path) as store:
        await store.writes.transact(lambda c: c.execute(text(change)))
    with pytest.raises(ConfigError, match=f"lacks the .*{change.split()[-1]}"):
        async with open_store(url, tmp_path):
            pass


async def test_what_an_administrator_added_is_no_fault(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path) as store:
        await store.writes.transact(lambda c: c.execute(text("CREATE INDEX mine ON files (name)")))
        await store.writes.transact(lambda c: c.execute(text("CREATE TABLE notes (text VARCHAR(9))")))
    async with open_store(url, tmp_path):
        pass


async def test_an_upgrade_is_told_and_leaves_a_copy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sfu.store")
    path = tmp_path / "sfu.db"
    engines = open_engines(parse_url(f"sqlite:///{path}"))
    await migrate(engines.write, "0004")
    async with engines.write.begin() as connection:
        await connection.execute(text("INSERT INTO users VALUES ('ann', 'Ann', 1, 1)"))
    await engines.dispose()
    async with open_store("", tmp_path):
        copy = copy_path(path, "0004")
        assert copy.stat().st_mode & 0o777 == 0o600
        kept = sqlite3.connect(copy)
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)
        assert kept.execute("SELECT name FROM users").fetchone() == ("Ann",)
        kept.close()
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == f"the database is upgraded from revision 0004 to {revisions()[-1]}"
    assert told[1] == f"its copy from before is {copy}"
    assert told[2].startswith("the database is upgraded: it took ")
    caplog.clear()
    async with open_store("", tmp_path):
        assert not caplog.records, "nothing was to be done"


async def test_an_upgrade_of_postgresql_says_that_there_is_no_copy(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engines = open_engines(parse_url(url))
    await migrate(engines.write, "0004")
    await engines.dispose()
    async with open_store(url, tmp_path):
        pass
    told = [record.getMessage() for record in caplog.records]
    without = "no copy is made of PostgreSQL: only a backup from before leads back to 0004"
    assert (without in told) == url.startswith("postgresql")


async def test_a_database_that_cannot_be_copied_is_not_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sfu.db"
    engines = open_engines(parse_url(f"sqlite:///{path}"))
    await migrate(engines.write, "0004")
    await engines.dispose()

    async def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfu.store.migrate.snapshot", full)
    with pytest.raises(StartError, match="No space left"):
        async with open_store("", tmp_path):
            pass
    kept = sqlite3.connect(path)
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)
    kept.close()


async def test_one_database_serves_one_server(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path):
        with pytest.raises(StartError, match="another server"):
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
