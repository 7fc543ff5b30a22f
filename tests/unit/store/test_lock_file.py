"""The lock file beside a SQLite database, which somebody may delete."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest
from stored import message

from sfu.errors import RequestError, StartError
from sfu.store import alone, messages
from sfu.store.store import open_store


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WATCH_S", 0.02)


@pytest.mark.parametrize("taken", [False, True])
async def test_a_lock_file_that_is_deleted_is_made_again_or_lost(tmp_path: Path, *, taken: bool) -> None:
    """The folders differ: only the database's own lock keeps them apart."""
    url, path = f"sqlite:///{tmp_path}/x.db", tmp_path / "x.db.lock"
    async with open_store(url, tmp_path / "one") as store:
        path.unlink()
        if taken:
            other = path.open("w")
            fcntl.flock(other, fcntl.LOCK_EX)
        async with asyncio.timeout(20):
            while not (store.lost.is_set() if taken else path.exists()):
                await asyncio.sleep(0.01)
        if taken:
            other.close()
            with pytest.raises(RequestError, match="storage_failed"):
                await store.writes.durable(messages.added(message(1)))
            return
        with pytest.raises(StartError, match="another server"):
            async with open_store(url, tmp_path / "two"):
                pass
