"""The lock on a PostgreSQL database, whose connection may end while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from stored import message

from sfu.errors import RequestError, StartError
from sfu.store import alone, messages
from sfu.store.store import Store, open_store

pytestmark = pytest.mark.postgres

_HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest_asyncio.fixture
async def operator(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection to the same database."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WATCH_S", 0.02)


async def test_a_lock_that_is_lost_is_taken_again(
    store: Store, url: str, tmp_path: Path, operator: asyncpg.Connection
) -> None:
    before = await operator.fetchval(_HOLDER)
    await operator.execute("SELECT pg_terminate_backend($1)", before)
    async with asyncio.timeout(20):
        while await operator.fetchval(_HOLDER) in {None, before}:
            await asyncio.sleep(0.01)
    with pytest.raises(StartError, match="another server"):
        async with open_store(url, tmp_path):
            pass
    assert not store.lost.is_set()


async def test_a_server_whose_database_another_has_taken_writes_no_more(
    store: Store, url: str, operator: asyncpg.Connection
) -> None:
    # It waits for the lock, so that it has it before anybody can take it again.
    other = await asyncpg.connect(url)
    taking = asyncio.create_task(other.execute("SELECT pg_advisory_lock($1)", alone.ADVISORY_LOCK))
    try:
        async with asyncio.timeout(20):
            while not await operator.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await operator.execute("SELECT pg_terminate_backend($1)", await operator.fetchval(_HOLDER))
            await taking
            await store.lost.wait()
        with pytest.raises(RequestError, match="storage_failed"):
            await store.writes.durable(messages.added(message(1)))
        with pytest.raises(RequestError, match="storage_failed"):
            await store.writes.transact(lambda c: messages.head(c, "r"))
    finally:
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking
        await other.close()
