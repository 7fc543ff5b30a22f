"""Each test here runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from postgres import postgres

from sfu.store.store import Store, open_store

_databases = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    first: str = request.getfixturevalue("postgres_url")
    name = f"test{next(_databases)}"
    connection = await asyncpg.connect(first)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return first.rpartition("/")[0] + "/" + name


@pytest_asyncio.fixture
async def store(url: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(url, tmp_path) as opened:
        yield opened
