"""Where the server keeps what lasts: the data directory, the open store, and the job that clears it out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfu import clock
from sfu.config import Config, StorageConfig
from sfu.errors import ConfigError, RequestError
from sfu.faults import start_fault
from sfu.server.contents import Contents, open_contents
from sfu.store import files, people, retention
from sfu.store.files import StoredFile
from sfu.store.store import TEMPORARY, Store, open_store
from sfu.store.writes import Work

log = logging.getLogger(__name__)

CLEARED_EVERY_S = 3600.0
"""Retention is counted in days: an hour more is no harm."""
DAY_MS = 86_400_000


def data_dir(config: Config) -> Path:
    """Where the server keeps what it makes: certificate, database, files. Created private on first use.

    Raises `ConfigError` or `StartError` where there can be none.
    """
    try:
        path = _chosen(config.server.data_dir)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except RuntimeError as error:
        raise ConfigError([f"server.data_dir: name a folder: {error}"]) from error
    except OSError as error:
        raise start_fault("server.data_dir", error) from error
    return path


def _chosen(configured: str) -> Path:
    """Raises `RuntimeError` where it depends on a home folder and there is none."""
    if configured:
        return Path(configured).expanduser()
    # Empty is as good as unset. Spec: XDG Base Directory.
    shared = os.environ.get("XDG_DATA_HOME", "")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / "pysfu"


@dataclass(slots=True)
class Storage:
    """The database, the contents of the files that it knows, and the sessions that a killed server left.

    One content may be of several files, so whether it is still needed is asked of the rows: contents and rows
    change under one lock, or a content that is found unused would be deleted while another file comes to it.
    """

    store: Store
    contents: Contents
    dead: Sequence[Mapping[str, Any]] = ()
    expired: Callable[[int], object] = lambda before_ms: None
    """Called when everything from before `before_ms` (Unix milliseconds) has left the database."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep(self, file: StoredFile, content: Path, small: Path | None) -> None:
        """Make a file durable: its content, then its row. `content` and `small` are gone then.

        Raises `RequestError` `storage_failed` or `overloaded`.
        """
        async with self._lock:
            await self.contents.keep(file.sha256, content, small)
            await self.store.writes.durable(files.added(file))

    async def remove(self, work: Work[Iterable[str]]) -> None:
        """Run `work` in a transaction; it returns the hashes of contents that are unused now: they go.

        Raises `RequestError` `storage_failed`.
        """
        async with self._lock:
            await self.contents.remove(await self.store.writes.transact(work))

    async def expire(self, before_ms: int) -> None:
        """Delete everything from before `before_ms`. Raises `RequestError` `storage_failed`."""
        async with self._lock:
            unused = await self.store.writes.transact(
                functools.partial(retention.expire, before_ms=before_ms)
            )
            # At once: contents may take long to go, and rooms would take changes of what has no row.
            self.expired(before_ms)
            await self.contents.remove(unused)

    async def sweep(self) -> int:
        """Delete contents without a row: the server was killed between the two. How many they were.

        Those from before this database was begun are another's. Raises `RequestError` `storage_failed`.
        """
        async with self._lock:
            async with self.store.reading() as connection:
                begun_ms = await people.first_room_ms(connection)
            if begun_ms is None:
                return 0
            there = await self.contents.hashes(begun_ms)
            async with self.store.reading() as connection:
                unused = await people.unused(connection, there)
            await self.contents.remove(unused)
        return len(unused)

    async def drop_file(self, room: str, file: str) -> None:
        """A message that showed the room's file is gone: so is the file, if no other shows it.

        Raises `RequestError` `storage_failed`.
        """
        await self.remove(functools.partial(files.delete_unshown, room=room, file=file))


@contextlib.asynccontextmanager
async def open_storage(config: Config) -> AsyncIterator[Storage]:
    """What is configured, and a job that clears it out. Raises `ConfigError`: it cannot be used."""
    url = config.storage.url
    folder = None if url == TEMPORARY else data_dir(config)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(url, folder, config.storage.max_waiting))
        async with store.reading() as connection:
            dead = await people.dead_sessions(connection)
        if dead:
            log.warning("%d sessions had no end: the server was killed", len(dead))
        contents = await stack.enter_async_context(open_contents(config.storage, store.folder))
        storage = Storage(store, contents, dead)
        clearing = asyncio.create_task(_clear_out(storage, config.storage))
        try:
            yield storage
        finally:
            clearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clearing


async def _clear_out(storage: Storage, config: StorageConfig) -> None:
    writes = storage.store.writes
    while True:
        # A failure is logged by the store; the next round is soon enough.
        with contextlib.suppress(RequestError):
            if config.telemetry_days:
                before_ms = clock.wall_ms() - config.telemetry_days * DAY_MS
                await writes.transact(functools.partial(retention.expire_telemetry, before_ms=before_ms))
            if config.retention_days:
                before_ms = clock.wall_ms() - config.retention_days * DAY_MS
                await storage.expire(before_ms)
        with contextlib.suppress(RequestError):
            if swept := await storage.sweep():
                log.warning("%d contents belonged to no file: the server was killed", swept)
        await asyncio.sleep(CLEARED_EVERY_S)
