"""Where the server keeps what lasts: the data directory, the open store, and the job that clears it out.

Only a server clears out. Commands work on what is there (`open_present`), or look at it (`read_only`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sfu import clock
from sfu.config import Config, StorageConfig
from sfu.errors import ConfigError, RequestError, StartError
from sfu.faults import expanded, start_fault
from sfu.server.contents import Contents, open_contents
from sfu.store import files, people, retention
from sfu.store.files import StoredFile
from sfu.store.store import TEMPORARY, Reader, Store, open_present, open_store, read_only
from sfu.store.writes import Work

log = logging.getLogger(__name__)

CLEARED_EVERY_S = 3600.0
"""Retention is counted in days: an hour more is no harm."""
DAY_MS = 86_400_000
ASIDE_DAYS = 30
"""How long what nobody seems to need is kept: contents without a row, copies from before upgrades."""


def data_dir(config: Config) -> Path:
    """Where the server keeps what it makes: certificate, database, files. Created private on first use.

    Raises `ConfigError` or `StartError` where there can be none.
    """
    path = data_path(config)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise start_fault("server.data_dir", error) from error
    return path


def data_path(config: Config) -> Path:
    """The same folder, which need not be there. Raises `ConfigError`: it needs a home, and there is none."""
    if config.server.data_dir:
        return expanded("server.data_dir", config.server.data_dir)
    # Empty is as good as unset. Spec: XDG Base Directory.
    shared = os.environ.get("XDG_DATA_HOME", "")
    return Path(shared or expanded("server.data_dir", "~/.local/share")) / "pysfu"


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
        # Before, so that rooms take no changes of what has no row; afterwards, for those opened meanwhile.
        self.expired(before_ms)
        gone = await retention.expire(self.store, before_ms)
        self.expired(before_ms)
        await self.remove(functools.partial(people.unused, hashes=gone.hashes))
        if gone.counts:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(gone.counts.items()))
            log.info("storage.retention_days: %s are deleted, from before %s", counts, _day(before_ms))

    async def claim(self) -> None:
        """Make the contents those of this database.

        Raises `ConfigError` where they are another's, `RequestError` `storage_failed`.
        """
        owner = await self.contents.owner()
        if owner == self.store.id:
            return
        there = await self.contents.hashes() | (await self.contents.aside()).keys()
        if there and owner:
            raise _strangers(self.store, f"they are of the database {owner}, and this one is {self.store.id}")
        async with self.store.reading() as connection:
            if there and len(await people.unused(connection, there)) == len(there):
                raise _strangers(self.store, f"this one knows none of the {len(there)} that are there")
        await self.contents.claim(self.store.id)

    async def sweep(self, now_ms: int) -> None:
        """Set contents without a row aside, and delete what has been there for `ASIDE_DAYS`.

        A killed server leaves a few; an older database that was put back, many. Raises `RequestError`
        `storage_failed`.
        """
        async with self._lock:
            there = await self.contents.hashes()
            async with self.store.reading() as connection:
                unused = await people.unused(connection, there)
            await self.contents.set_aside(unused, now_ms)
            aside = await self.contents.aside()
            over = [each for each, since_ms in aside.items() if since_ms < now_ms - ASIDE_DAYS * DAY_MS]
            await self.contents.forget(over)
        if unused:
            log.warning(
                "%d contents belong to no file: they are set aside for %d days", len(unused), ASIDE_DAYS
            )
        if over:
            log.warning("%d contents that were set aside %d days ago are deleted", len(over), ASIDE_DAYS)

    async def bring_back(self) -> None:
        """Take back what is set aside and has a row by now. Raises `RequestError` `storage_failed`."""
        async with self._lock:
            aside = await self.contents.aside()
            async with self.store.reading() as connection:
                unused = await people.unused(connection, aside)
            known = aside.keys() - set(unused)
            await self.contents.bring_back(known)
        if known:
            log.warning("%d contents that were set aside belong to files again", len(known))

    async def drop_file(self, room: str, file: str) -> None:
        """A message that showed the room's file is gone: so is the file, if no other shows it.

        Raises `RequestError` `storage_failed`.
        """
        await self.remove(functools.partial(files.delete_unshown, room=room, file=file))


@contextlib.asynccontextmanager
async def open_storage(config: Config) -> AsyncIterator[Storage]:
    """Open what is configured, for a server, and clear it out hourly.

    Raises `ConfigError`: it cannot be used.
    """
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
        try:
            await storage.claim()
            await storage.bring_back()
            await store.believe(clock.wall_ms())
        except RequestError as error:
            if isinstance(error.__cause__, OSError):
                raise start_fault("server.data_dir", error.__cause__) from error
            raise StartError(f"storage: {error.message}", os.EX_TEMPFAIL) from error
        clearing = asyncio.create_task(_clear_out(storage, config.storage))
        try:
            yield storage
        finally:
            clearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clearing


@contextlib.asynccontextmanager
async def open_present_storage(config: Config) -> AsyncIterator[Storage]:
    """Hold what is there, for a command that changes something. Raises `ConfigError`: it cannot be used."""
    async with (
        open_present(config.storage.url, data_path(config)) as store,
        open_contents(config.storage, store.folder) as contents,
    ):
        yield Storage(store, contents)


@contextlib.asynccontextmanager
async def read_storage(config: Config) -> AsyncIterator[tuple[Reader, Contents]]:
    """Open what is there, for a command that only looks. Raises `ConfigError`: it cannot be used."""
    async with (
        read_only(config.storage.url, data_path(config)) as reader,
        open_contents(config.storage, reader.folder) as contents,
    ):
        yield reader, contents


async def _clear_out(storage: Storage, config: StorageConfig) -> None:
    store = storage.store
    while True:
        # A failure is logged by the store; the next round is soon enough.
        with contextlib.suppress(RequestError):
            if store.believed:
                await _clear_once(storage, config)
        await asyncio.sleep(CLEARED_EVERY_S)
        with contextlib.suppress(RequestError):
            await store.believe(clock.wall_ms())


async def _clear_once(storage: Storage, config: StorageConfig) -> None:
    now_ms = clock.wall_ms()
    if config.telemetry_days:
        before_ms = now_ms - config.telemetry_days * DAY_MS
        if gone := await retention.expire_telemetry(storage.store.writes, before_ms):
            log.info("storage.telemetry_days: %d samples are deleted, from before %s", gone, _day(before_ms))
    if config.retention_days:
        await storage.expire(now_ms - config.retention_days * DAY_MS)
    await storage.sweep(now_ms)
    for name in await storage.store.drop_copies(now_ms - ASIDE_DAYS * DAY_MS):
        log.info("%s, from before an upgrade %d days ago, is deleted", name, ASIDE_DAYS)
    await storage.store.shrink()


def _strangers(store: Store, why: str) -> ConfigError:
    return ConfigError(
        [
            f"storage.files: the contents of files are not those of this database: {why}. Put the right "
            f"database back, or give this one a folder (or prefix) of its own; it has {store.folder} now"
        ]
    )


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
